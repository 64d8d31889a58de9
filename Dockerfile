# One image for the web server, workers and every command; what runs is named in docker-compose.yml.
FROM python:3.11-slim-bookworm AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /usr/local/bin/uv
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/unmoved
WORKDIR /src
# What is locked changes rarely, and is a layer of its own.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-dev --no-install-project --extra openai --extra qdrant --extra sudachi
COPY search_app search_app
COPY ingest ingest
RUN uv sync --frozen --no-dev --no-editable --extra openai --extra qdrant --extra sudachi

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 1000 unmoved \
    && install -d -o unmoved -g unmoved -m 700 /data /backups
COPY --from=build /opt/unmoved /opt/unmoved
ENV PATH=/opt/unmoved/bin:$PATH PYTHONUNBUFFERED=1 UNMOVED_DATA_DIR=/data
USER unmoved
VOLUME ["/data", "/backups"]
EXPOSE 8020
CMD ["search-app", "serve", "--host", "0.0.0.0", "--no-worker"]
