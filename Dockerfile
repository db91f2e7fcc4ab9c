# One target an image: auth-service, task-service, worker, witness, migration. `npm run images` builds them all.
#
# The base is the Node that the tests run on; test/images/dockerfile.test.ts compares the two. Its tag
# can be moved, so a release names what it has looked at: npm run images -- --base <this>@sha256:...
ARG BASE=docker.io/library/node:24.21.0-bookworm-slim

FROM --platform=$BUILDPLATFORM ${BASE} AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier
COPY . .
ARG TARGETARCH
RUN ["node", "scripts/bundle.ts", "dist"]

FROM ${BASE} AS runtime
# Nothing is ever installed in a running container.
RUN rm -rf /usr/local/lib/node_modules /usr/local/include/node /opt/yarn-v* \
    /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /usr/local/bin/yarn /usr/local/bin/yarnpkg
# Where RDS is asked for its certificate (DB_SSLMODE=verify-full), Node knows who signs those.
ENV NODE_ENV=production NODE_EXTRA_CA_CERTS=/app/rds-ca.pem
WORKDIR /app
# `node` of the base, by number: an orchestrator can see that this is not root.
USER 1000:1000
STOPSIGNAL SIGTERM
ARG BASE
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="Tasktrail" \
      org.opencontainers.image.licenses="UNLICENSED" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# A further service is an entry in scripts/bundle.ts and a stage like these. ECS does not read
# HEALTHCHECK: its task definitions say the same again.
FROM runtime AS auth-service
LABEL org.opencontainers.image.title="auth-service" \
      org.opencontainers.image.description="Accounts, sessions and tokens"
COPY --from=build /build/dist/auth-service/ /
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/node", "/app/health.js", "/auth/health"]
ENTRYPOINT ["/usr/local/bin/node", "/app/auth-service.js"]

FROM runtime AS task-service
LABEL org.opencontainers.image.title="task-service" \
      org.opencontainers.image.description="Tasks and their history"
COPY --from=build /build/dist/task-service/ /
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/node", "/app/health.js", "/tasks/health"]
ENTRYPOINT ["/usr/local/bin/node", "/app/task-service.js"]

# Nobody connects to it; it listens for the question after its health.
FROM runtime AS worker
LABEL org.opencontainers.image.title="worker" \
      org.opencontainers.image.description="The audit trail, the signatures of the log, the check for drift"
COPY --from=build /build/dist/worker/ /
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/node", "/app/health.js", "/worker/health"]
ENTRYPOINT ["/usr/local/bin/node", "/app/worker.js"]

# Where WITNESS_DIR is, a volume has to be: nothing else remembers what it has cosigned.
FROM runtime AS witness
LABEL org.opencontainers.image.title="witness" \
      org.opencontainers.image.description="Cosigns a log that only grows"
COPY --from=build /build/dist/witness/ /
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/node", "/app/health.js", "/witness/health"]
ENTRYPOINT ["/usr/local/bin/node", "/app/witness.js"]

# Runs once and ends: 0 when the schema is as this version needs it.
FROM runtime AS migration
LABEL org.opencontainers.image.title="migration" \
      org.opencontainers.image.description="The schema, forward (latest), back (rollback) or told (status)"
COPY --from=build /build/dist/migration/ /
ENTRYPOINT ["/usr/local/bin/node", "/app/migrate.js"]
CMD ["latest"]
