# The server as an image: its own code and the packages that requirements/server.lock pins.
#
#   docker build -t fieldsync .
#   make up HOST=…                with all that it needs: see docker-compose.yml

FROM python:3.11.14-slim-trixie AS packages
COPY requirements/server.lock /
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r /server.lock

FROM python:3.11.14-slim-trixie
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 DJANGO_SETTINGS_MODULE=backend.settings.production \
    MALLOC_ARENA_MAX=2
WORKDIR /app
COPY --from=packages /venv /venv
COPY manage.py ./
COPY sync sync
COPY backend backend
# A number, so that an orchestrator can see that it is not root.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-m", "backend.devstack.health"]
CMD ["python", "-m", "uvicorn", "backend.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--no-access-log", "--timeout-graceful-shutdown", "20"]
