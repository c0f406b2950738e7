# One image for every role: API, controller, Ray head and Ray workers.
FROM python:3.11-slim
RUN useradd --create-home --uid 1000 hpo
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY hpo_service hpo_service
COPY search_spaces search_spaces
COPY workers workers
ARG TORCH="torch==2.13.0"
RUN pip install --no-cache-dir --constraint constraints.txt "$TORCH" \
    && pip install --no-cache-dir --constraint constraints.txt '.[all]' \
    && mkdir -p /data && chown hpo /data
USER hpo
ENV HPO_DATA=/data HPO_STORAGE=/data/storage HPO_HOST=0.0.0.0 PYTHONUNBUFFERED=1
EXPOSE 8421
CMD ["hpo", "serve"]
