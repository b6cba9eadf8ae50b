# A small image that serves one exported model: onnxruntime instead of PyTorch, for CPUs, without root's rights.
#
#   python -m helpers export --run RUN --to onnx --output model
#   docker build --build-arg MODEL=model -t emotion .          # the model is baked in
#   docker run --rm -p 8000:8000 emotion
#   docker run --rm -p 8000:8000 -v "$PWD/other:/model:ro" emotion    # or another one mounted over it
#
# tests/deploy/test_docker.py runs these steps in a fresh environment where there is no container engine.
FROM python:3.12-slim AS packages
COPY requirements-serve.txt constraints.txt /tmp/
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --no-compile -r /tmp/requirements-serve.txt -c /tmp/constraints.txt

FROM python:3.12-slim
ARG MODEL=model
COPY --from=packages /venv /venv
COPY helpers /app/helpers
COPY ${MODEL} /model
RUN useradd --system --no-create-home server
USER server
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health')"]
ENTRYPOINT ["python", "-m", "helpers", "serve", "--run", "/model", "--host", "0.0.0.0", "--port", "8000"]
