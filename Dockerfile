# sammil on an NVIDIA GPU, or without one. The lines most people need:
#   docker build -t sammil .                       with the SAM ViT-H checkpoint (2.6 GB) inside
#   docker build -t sammil --target slim .         without; mount yours:  -v /my/weights:/weights
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD":/project sammil train
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD":/project --entrypoint dvc sammil repro
# torch's wheels bring the CUDA libraries they need, so the small base image serves; the host needs a driver for CUDA 13.
ARG BASE_IMAGE=nvidia/cuda:13.0.3-base-ubuntu24.04@sha256:7c7413a56200486f71f181cad9310f6fd31b6bb21816ade15fc9c1e1e927a5c1

FROM ${BASE_IMAGE} AS python
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*

FROM python AS build
RUN python3 -m venv /opt/sammil/venv && /opt/sammil/venv/bin/pip install --no-cache-dir 'uv>=0.9,<1'
ENV VIRTUAL_ENV=/opt/sammil/venv UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1
COPY requirements.lock /src/
RUN /opt/sammil/venv/bin/uv pip install --require-hashes -r /src/requirements.lock
COPY pyproject.toml README.md LICENSE /src/
COPY sammil_cli /src/sammil_cli
RUN /opt/sammil/venv/bin/uv pip install --no-deps /src

# The checkpoint has a stage of its own: a change of the code does not fetch it again.
FROM python AS weights
ARG SAM_URL=https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth
ARG SAM_SHA256=a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e
RUN mkdir -p /opt/sammil/weights \
 && python3 -c "import sys, urllib.request as r; r.urlretrieve(sys.argv[1], sys.argv[2])" \
    "$SAM_URL" "/opt/sammil/weights/${SAM_URL##*/}" \
 && echo "$SAM_SHA256  /opt/sammil/weights/${SAM_URL##*/}" | sha256sum --check -

FROM python AS slim
LABEL org.opencontainers.image.title="sammil" \
      org.opencontainers.image.description="Whole-slide images to slide-level diagnoses with SAM-MIL" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/sammil/venv /opt/sammil/venv
# Any --user works: home and caches lie where everyone may write; git trusts the mounted project.
ENV PATH=/opt/sammil/venv/bin:$PATH \
    HOME=/tmp/sammil-home XDG_CACHE_HOME=/tmp/sammil-home/.cache MPLCONFIGDIR=/tmp/sammil-home/.matplotlib \
    SAMMIL_WEIGHTS=/weights DVC_NO_ANALYTICS=true PYTHONDONTWRITEBYTECODE=1
RUN git config --system --add safe.directory /project \
 && mkdir -p /project /weights /tmp/sammil-home && chmod 1777 /project /tmp/sammil-home \
 && sammil --help > /dev/null
USER 1000:1000
WORKDIR /project
ENTRYPOINT ["sammil"]
CMD ["--help"]

FROM slim AS full
COPY --from=weights /opt/sammil/weights /opt/sammil/weights
ENV SAMMIL_WEIGHTS=/opt/sammil/weights
