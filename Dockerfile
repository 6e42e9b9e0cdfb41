# One image. `serving` (the default) runs every process but the training worker and holds no torch.
# `training` adds it, `parler` adds parler-tts to that, in an environment of its own. All carry the code of `training`:
# choosing samples and words needs none of that.
#   docker build -t kaan .
#   docker build -t kaan-training --target training .
#   docker build -t kaan-training --target parler .
# For a GPU: --build-arg CUDA=12 adds the CUDA 12 libraries that CTranslate2 loads, or name a base that has them and Python
# 3.11: --build-arg BASE=... docker-compose.gpu.yml does the first.
ARG BASE=python:3.11.14-slim-bookworm

# --- packages, checked against the hashes of the locks; compilers and caches stay behind in these stages
FROM ${BASE} AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/kaan
ENV PATH=/opt/kaan/bin:$PATH
ARG CUDA=""
COPY requirements/serving.lock requirements/cuda.lock /requirements/
RUN pip install --require-hashes -r /requirements/serving.lock \
    && if [ -n "$CUDA" ]; then pip install --require-hashes -r /requirements/cuda.lock; fi

FROM packages AS training-packages
# torch comes first and outside the lock: which build is right, CPU or CUDA, depends on the machine.
ARG TORCH_INDEX=""
COPY requirements/training.lock /requirements/
# hadolint ignore=DL3013
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0 \
    && pip install --require-hashes --no-deps -r /requirements/training.lock \
    && pip check

FROM ${BASE} AS parler-packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/parler
ENV PATH=/opt/parler/bin:$PATH
ARG TORCH_INDEX=""
COPY requirements/parler.lock /requirements/
# hadolint ignore=DL3013
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0 \
    && pip install --require-hashes --no-deps -r /requirements/parler.lock

# --- what all run on: no compiler, no root
FROM ${BASE} AS runtime
RUN groupadd --system --gid 10001 kaan \
    && useradd --system --uid 10001 --gid kaan --home-dir /data --shell /usr/sbin/nologin kaan \
    && install --directory --owner kaan --group kaan /data
ENV PATH=/opt/kaan/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/data \
    HF_HOME=/data/models
WORKDIR /app
VOLUME /data
EXPOSE 9090
# For the web process; docker-compose.yml gives the others their own.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '9090') + '/health', timeout=4)"]
ENTRYPOINT ["python", "-m", "ml_backend"]

FROM runtime AS training
COPY --from=training-packages /opt/kaan /opt/kaan
COPY _wsgi.py model.py /app/
COPY ml_backend /app/ml_backend
COPY sync /app/sync
COPY training /app/training
USER 10001:10001
CMD ["worker", "training"]

FROM training AS parler
COPY --from=parler-packages /opt/parler /opt/parler
ENV TTS_PARLER_PYTHON=/opt/parler/bin/python

FROM runtime AS serving
COPY --from=packages /opt/kaan /opt/kaan
COPY _wsgi.py model.py /app/
COPY ml_backend /app/ml_backend
COPY sync /app/sync
COPY training /app/training
USER 10001:10001
CMD ["web"]
