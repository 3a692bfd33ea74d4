# The pipeline in a container, for machines with NVIDIA GPUs (driver 580 or later, NVIDIA's container toolkit) or none.
#
#   docker build -t dfdc .
#   docker build -t dfdc --build-arg WITH_APEX=1 .     # with NVIDIA's apex, for --amp-backend apex
#
# What lies in weights/ (checkpoints) and imagenet/ (a copy of huggingface/ and torch/ of ~/.cache, where timm and
# torchvision keep ImageNet weights) goes into the image; both may be missing. As published, with DATA_ROOT at /dataset:
#
#   mkdir -p out
#   docker run --gpus all --ipc=host --rm -it --user "$(id -u):$(id -g)" -v DATA_ROOT:/dataset -v "$PWD/out:/out" dfdc
#
# and in it, or at the end of that line:
#
#   ./preprocess_data.sh /dataset                                 # writes into DATA_ROOT
#   ./train.sh /dataset 4                                         # four GPUs; checkpoints and logs go to out/
#   ./predict_submission.sh /dataset/videos /out/submission.csv
#
# Without --gpus all everything runs on the CPU. Nothing in it runs as root: without --user it is user 1000 (--build-arg
# UID=...). Only /out, /cache and /dataset are written to; -v dfdc-cache:/cache keeps converted networks from run to run.
# --ipc=host gives the loader processes shared memory. docs/dependencies.md: what of this has been checked, and how.

# Ubuntu or Debian with Python 3.11 to 3.13. PyTorch brings its own CUDA libraries, so any of CUDA 13 will do.
ARG CUDA_IMAGE=nvidia/cuda:13.0.1-runtime-ubuntu24.04

FROM ${CUDA_IMAGE} AS sources
WORKDIR /sources
COPY . .
# COPY fails on what is not there, so what may be missing is made here; apart, so that new code copies no gigabytes anew.
# Whatever the modes of the checkout, an ordinary user must be able to read it.
RUN chmod -R a+rX . && mkdir -p weights imagenet && mv weights imagenet /

FROM ${CUDA_IMAGE} AS packages
# Unpinned: distributions keep the last version only, and its security fixes are wanted.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:$PATH LANG=C.UTF-8
WORKDIR /app
COPY requirements-lock.txt requirements-nodeps.txt ./
# Every file that is downloaded must have the hash in these lists.
RUN python3 -m venv /opt/venv \
    && pip install --no-cache-dir --require-hashes -r requirements-lock.txt \
    && pip install --no-cache-dir --require-hashes --no-deps --no-build-isolation -r requirements-nodeps.txt

FROM packages AS apex
ARG WITH_APEX=0
# The last releases with amp.
ARG APEX_TAG=25.05
ARG TORCH_CUDA_ARCH_LIST="8.0;8.6;9.0"
# It must be compiled by the very CUDA that PyTorch was built with; the base image knows where NVIDIA's packages are.
# hadolint ignore=DL3008
RUN mkdir /wheels \
    && if [ "$WITH_APEX" = 1 ]; then \
        case "$APEX_TAG" in 25.04 | 25.05) ;; *) echo "APEX_TAG must be 25.04 or 25.05" >&2; exit 1 ;; esac \
        && cuda="$(python -c 'import torch; print(torch.version.cuda)')" \
        && apt-get update \
        && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
            "cuda-toolkit-${cuda%.*}-${cuda#*.}" g++ git ninja-build python3-dev \
        && git clone --depth 1 --branch "$APEX_TAG" https://github.com/NVIDIA/apex /apex \
        && git -C /apex rev-parse HEAD \
        && CUDA_HOME="/usr/local/cuda-$cuda" pip wheel --no-deps --no-build-isolation --wheel-dir /wheels \
            --config-settings "--build-option=--cpp_ext" --config-settings "--build-option=--cuda_ext" /apex; \
    fi

FROM packages
ARG UID=1000
COPY --from=apex /wheels /wheels
RUN find /wheels -name '*.whl' -exec pip install --no-cache-dir --no-deps {} +
COPY --from=sources --chown=${UID} /imagenet /cache
COPY --from=sources /weights weights
# Anyone may write here, so that --user can name anyone.
RUN mkdir -p /dataset /home/dfdc /out && chmod 1777 /cache /dataset /home/dfdc /out
COPY --from=sources /sources ./
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e .
# USER is a name for users that have none; the weights and logs of train.sh go where they outlive the container.
ENV HOME=/home/dfdc USER=dfdc XDG_CACHE_HOME=/cache WEIGHTS=/out/weights LOGS=/out/logs
USER ${UID}
CMD ["bash"]
