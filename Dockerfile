# sammil on an NVIDIA GPU, or without one. The lines most people need (--user makes every file yours):
#   docker build -t sammil .                       with SAM ViT-H (2.6 GB) and ResNet-50 (0.1 GB) inside
#   docker build -t sammil --target slim .         without; mount yours:  -v /my/weights:/weights:ro
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD":/project sammil train
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD":/project --entrypoint dvc sammil repro
# Without a GPU leave out --gpus all. torch 2.13.0's wheels bring CUDA 13.0, so the small base serves; the host needs
# an NVIDIA driver 580 or newer. Needs no network, no large /dev/shm and no writable root. More: docs/containers.md
ARG BASE_IMAGE=nvidia/cuda:13.0.3-base-ubuntu24.04@sha256:7c7413a56200486f71f181cad9310f6fd31b6bb21816ade15fc9c1e1e927a5c1

FROM ${BASE_IMAGE} AS python
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*

# Packages change with the lock, sammil with every commit: so they are two layers of the image, gigabytes and megabytes.
FROM python AS packages
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir 'uv==0.13.8' \
 && python3 -m venv --without-pip /opt/sammil/venv
ENV VIRTUAL_ENV=/opt/sammil/venv UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1
COPY requirements.lock /src/
RUN /opt/uv/bin/uv pip install --require-hashes -r /src/requirements.lock \
 && echo /opt/sammil/app > "$(/opt/sammil/venv/bin/python -c 'import site; print(site.getsitepackages()[0])')/sammil.pth"

FROM packages AS app
COPY pyproject.toml requirements-dev.lock README.md LICENSE /src/
COPY sammil_cli /src/sammil_cli
RUN /opt/uv/bin/uv build --wheel --quiet --require-hashes --build-constraint /src/requirements-dev.lock --out-dir /wheel /src \
 && /opt/uv/bin/uv pip install --no-deps --target /opt/sammil/app /wheel/*.whl
# DVC keeps pickles in its site cache: before it reads them, that folder becomes its owner's alone.
RUN printf '#!/bin/sh\n%s -m sammil_cli.project.site_cache && exec %s "$@"\n' \
    /opt/sammil/venv/bin/python /opt/sammil/venv/bin/dvc > /opt/sammil/app/bin/dvc \
 && chmod 755 /opt/sammil/app/bin/dvc

# What the paper's presets need, pinned. Stages of their own: a change of the code does not fetch them again.
FROM python AS weights
WORKDIR /opt/sammil/weights
ARG SAM_URL=https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth
ARG SAM_SHA256=a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e
RUN python3 -c "import sys, urllib.request as r; r.urlretrieve(sys.argv[1], sys.argv[2])" "$SAM_URL" "${SAM_URL##*/}" \
 && echo "$SAM_SHA256  ${SAM_URL##*/}" > /tmp/sha256sums && sha256sum --check --strict /tmp/sha256sums
ARG ENCODER_URL=https://download.pytorch.org/models/resnet50-0676ba61.pth
ARG ENCODER_SHA256=0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a
RUN python3 -c "import sys, urllib.request as r; r.urlretrieve(sys.argv[1], sys.argv[2])" "$ENCODER_URL" "${ENCODER_URL##*/}" \
 && echo "$ENCODER_SHA256  ${ENCODER_URL##*/}" > /tmp/sha256sums && sha256sum --check --strict /tmp/sha256sums

FROM python AS slim
COPY --from=packages /opt/sammil/venv /opt/sammil/venv
COPY --from=app /opt/sammil/app /opt/sammil/app
# Any --user works: there is a name for whoever it is, and what must be kept from run to run lies in the project.
# Git trusts the mounted project, and has an author for those who configured none.
ENV PATH=/opt/sammil/app/bin:/opt/sammil/venv/bin:$PATH \
    HOME=/tmp USER=sammil LOGNAME=sammil \
    XDG_CACHE_HOME=/project/.sammil/cache MPLCONFIGDIR=/project/.sammil/cache/matplotlib \
    TORCHINDUCTOR_CACHE_DIR=/project/.sammil/cache/torchinductor DVC_SITE_CACHE_DIR=/project/.sammil/dvc \
    SAMMIL_WEIGHTS=/weights DVC_NO_ANALYTICS=true PYTHONDONTWRITEBYTECODE=1
RUN git config --system --add safe.directory /project \
 && git config --system user.name sammil && git config --system user.email sammil@localhost \
 && mkdir -p /project /weights && chmod 1777 /project /weights
ARG VERSION=0.1.0
ARG REVISION=unknown
ENV SAMMIL_IMAGE="sammil ${VERSION}, revision ${REVISION}"
LABEL org.opencontainers.image.title="sammil" \
      org.opencontainers.image.description="Whole-slide images to slide-level diagnoses with SAM-MIL" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="nvidia/cuda:13.0.3-base-ubuntu24.04"
USER 1000:1000
WORKDIR /project
# The build check: every library loads, one OpenSlide, torchvision's operators run.
RUN sammil doctor && rm -rf .sammil
ENTRYPOINT ["sammil"]
CMD ["--help"]

FROM slim AS full
COPY --from=weights /opt/sammil/weights /opt/sammil/weights
ENV SAMMIL_WEIGHTS=/weights:/opt/sammil/weights
