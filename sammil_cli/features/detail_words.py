"""What a bag says of its encoder, in words for people."""

from sammil_cli.features.encoder_details import EncoderDetails


def detail_words(details: EncoderDetails) -> str:
    """All that is known, in one line; empty where nothing is."""
    known = (
        ("prepared:", details.preparation),
        ("pooling", details.pooling),
        ("computed in", details.precision),
        ("revision", details.revision),
        ("trained at", None if details.mpp is None else f"{details.mpp:g} µm per pixel"),
    )
    return "; ".join(f"{what} {value}" for what, value in known if value is not None)
