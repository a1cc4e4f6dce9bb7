"""Published encoders made small: rows whose networks take milliseconds."""

from dataclasses import replace

from sammil_cli.features.encoder_row import EncoderRow, Pooling, encoder_row

WIDTH, REGISTERS = 24, 3


def tiny_row(*, registers: int = REGISTERS, pooling: Pooling = "cls", side: int = 64, **options: object) -> EncoderRow:
    """UNI2-h with two narrow layers and patches of 16 px."""
    row = encoder_row("uni2_h")
    small = {"img_size": side, "patch_size": 16, "depth": 2, "num_heads": 3, "embed_dim": WIDTH}
    call = replace(row.network, options={**row.network.options, **small, "reg_tokens": registers, **options})
    return replace(
        row,
        word="tiny",
        title="Tiny",
        network=call,
        preparation=replace(row.preparation, input_px=side, resize_px=side),
        pooling=pooling,
        poolings=("cls", "cls-mean", "mean", "pooled"),
        dim=2 * WIDTH if pooling == "cls-mean" else WIDTH,
    )
