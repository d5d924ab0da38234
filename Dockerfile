# Two images from one file:
#   docker build --target operator -t detection-operator .
#   docker build --target trainer  -t detection-trainer .                      (CUDA wheels)
#   docker build --target trainer  --build-arg ACCELERATOR=cpu -t … .          (CPU wheel)
# BASE_IMAGE needs Python 3.11 or newer as `python3`, with pip or venv. A release passes it by digest
# (name:tag@sha256:…); RELEASE.md says how to look the digest up.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PATH=/opt/venv/bin:${PATH}
# Dependencies are a layer of their own: a change of source leaves it alone.
RUN python3 -m venv /opt/venv

FROM base AS operator
COPY requirements/operator.lock /tmp/requirements.lock
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.lock
COPY trainer/detection_trainer/__init__.py /opt/app/detection_trainer/__init__.py
COPY trainer/detection_trainer/contract /opt/app/detection_trainer/contract
COPY operator/detection_operator /opt/app/detection_operator
# Kopf asks for the user's name, which an arbitrary uid has none of.
ENV PYTHONPATH=/opt/app USER=detection-operator
USER 65532:65532
ENTRYPOINT ["python3", "-m", "detection_operator"]

FROM base AS trainer
ARG ACCELERATOR=cuda
COPY requirements/trainer-${ACCELERATOR}.lock /tmp/requirements.lock
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.lock
COPY --chmod=755 trainer/detection-trainer /usr/local/bin/detection-trainer
COPY trainer/detection_trainer /opt/app/detection_trainer
ENV PYTHONPATH=/opt/app TF_CPP_MIN_LOG_LEVEL=2
USER 65532:65532
ENTRYPOINT ["detection-trainer"]
CMD ["--help"]
