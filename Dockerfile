# One image for every service: docker build --build-arg SERVICE=orders .
# Dependencies come from the same hashed lock as everywhere, cut to what a service needs at run time.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
WORKDIR /app
COPY requirements.lock ./
COPY deploy/runtime_lock.py deploy/
COPY libs/contracts/pyproject.toml libs/contracts/
COPY libs/chassis/pyproject.toml libs/chassis/
COPY services/orders/pyproject.toml services/orders/
COPY services/payments/pyproject.toml services/payments/
COPY services/fulfillment/pyproject.toml services/fulfillment/
COPY services/invoicing/pyproject.toml services/invoicing/
COPY services/webhooks/pyproject.toml services/webhooks/
COPY services/console/pyproject.toml services/console/
COPY services/dintero_compat/pyproject.toml services/dintero_compat/
RUN python deploy/runtime_lock.py requirements.lock libs/contracts libs/chassis \
      services/orders services/payments services/fulfillment services/invoicing services/webhooks services/console \
      services/dintero_compat > runtime.lock \
 && python -m venv /venv \
 && /venv/bin/python -m pip install --quiet --no-cache-dir --require-hashes -r runtime.lock

FROM build AS code
ARG SERVICE
COPY libs/contracts libs/contracts
COPY libs/chassis libs/chassis
COPY services/${SERVICE} services/${SERVICE}
RUN /venv/bin/python -m pip install --quiet --no-cache-dir --no-deps --no-build-isolation \
      -e libs/contracts -e libs/chassis -e services/${SERVICE} \
 && /venv/bin/python -m compileall -q libs services

# Real orders through services that run elsewhere, and the checker's verdict as exit status.
FROM build AS demo
COPY libs libs
COPY services services
COPY demo demo
RUN python deploy/runtime_lock.py requirements.lock libs/contracts libs/chassis services/orders services/payments \
      services/fulfillment services/invoicing services/webhooks services/console psutil rich > demo.lock \
 && /venv/bin/python -m pip install --quiet --no-cache-dir --require-hashes -r demo.lock \
 && /venv/bin/python -m pip install --quiet --no-cache-dir --no-deps --no-build-isolation -e libs/contracts -e libs/chassis \
      -e libs/devservices -e libs/gatewayservers -e libs/system -e services/orders -e services/payments -e services/fulfillment -e services/invoicing \
      -e services/webhooks -e services/console \
 && groupadd --gid 10001 tradewind && useradd --uid 10001 --gid tradewind --no-create-home tradewind \
 && install --directory --owner tradewind .devservices reports
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER tradewind
ENTRYPOINT ["python", "-m", "demo", "--attached", "--reports", "reports"]

FROM python:${PYTHON}-slim
ARG SERVICE
ENV SERVICE=${SERVICE} PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
RUN groupadd --gid 10001 tradewind && useradd --uid 10001 --gid tradewind --no-create-home tradewind
COPY --from=code /venv /venv
COPY --from=code /app/libs /app/libs
COPY --from=code /app/services /app/services
USER tradewind
WORKDIR /app
EXPOSE 8000
HEALTHCHECK --start-period=3m --start-interval=2s --interval=10s --timeout=5s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/bin/sh", "-c", "exec python -m \"$SERVICE\" \"$@\"", "--"]
CMD ["all"]
