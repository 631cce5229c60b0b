"""Settings that every stage shares; a stage adds its own and then seals the reader.

Values from the environment come from `env`, whose table is in `variables`.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS

from backend.settings.variables import LOG_FORMATS, LOG_LEVELS, REPLICA_OPTIONS, Reader
from backend.versions import CHAIN, FIRST

env = Reader()

ROOT_URLCONF = "backend.urls"
WSGI_APPLICATION = "backend.wsgi.application"
ASGI_APPLICATION = "backend.asgi.application"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "backend.postgres",
    "backend.metrics",
    "backend.health",
    "sync",
    "backend.accounts",
    "backend.tenants",
    "backend.jobs",
    "backend.fieldwork",
]

MIDDLEWARE = [
    "backend.request_id.RequestIdMiddleware",
    "backend.health.middleware.HealthMiddleware",
    "backend.metrics.middleware.MetricsMiddleware",
    "backend.logs.access.AccessLogMiddleware",
    "backend.version_headers.VersionHeadersMiddleware",
    "backend.row_security.RowSecurityMiddleware",
    "backend.throttling.headers.RateLimitMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "backend.browsers.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "backend.browsers.AuthenticationMiddleware",
    "backend.browsers.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- storage -------------------------------------------------------------------------------

PREPARED_AFTER = 3  # executions; fewer would prepare what is asked once
DATABASES: dict[str, dict[str, Any]] = {"default": env.database("DATABASE_URL")}
if replica := env.database("DATABASE_REPLICA_URL", REPLICA_OPTIONS):
    DATABASES["replica"] = {**replica, "TEST": {"MIRROR": "default"}}
# Parameters travel beside the statement. A batch of rows is one large parameter: quoted into the
# text by the client, it would be scanned three times more.
# What is executed again and again is planned once by each connection.
PREPARE_STATEMENTS = env.flag("PREPARE_STATEMENTS")
for database in DATABASES.values():
    database.setdefault("OPTIONS", {}).update(
        server_side_binding=True,
        prepare_threshold=PREPARED_AFTER if PREPARE_STATEMENTS else None,
    )
    # Behind a pooler, what a cursor was declared on is another's after the transaction.
    database["DISABLE_SERVER_SIDE_CURSORS"] = not PREPARE_STATEMENTS
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.url("REDIS_URL", schemes=("redis", "rediss", "unix"))
CACHES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}
if REDIS_URL:
    CACHES["default"] = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {
            "SOCKET_CONNECT_TIMEOUT": 1,  # seconds; a cache that is down must not hold requests
            "SOCKET_TIMEOUT": 1,
            "IGNORE_EXCEPTIONS": True,  # the cache is an aid: without it all goes on, slower
        },
    }
DJANGO_REDIS_LOG_IGNORED_EXCEPTIONS = True

# --- time and language ---------------------------------------------------------------------

USE_TZ = True
TIME_ZONE = "UTC"  # always: times on the wire are UTC, and apps show local time
LANGUAGE_CODE = "en"
USE_I18N = False

# --- accounts ------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS", prefixes=("https://", "http://"))
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": dt.timedelta(
        minutes=env.number("ACCESS_TOKEN_MINUTES", minimum=1, maximum=1_440)
    ),
    "REFRESH_TOKEN_LIFETIME": dt.timedelta(
        days=env.number("REFRESH_TOKEN_DAYS", minimum=1, maximum=3_650)
    ),
}

# --- the API -------------------------------------------------------------------------------

SYNC = {
    "ACTOR_RESOLVER": "backend.fieldwork.access.resolve_actor",
    "VERSIONS": "backend.versions.CHAIN",
    "POKE_URL": REDIS_URL or "postgresql:",
    "DEVICE_RESOLVER": "backend.fieldwork.access.resolve_device",
    "REPLICA_ALIAS": "replica" if "replica" in DATABASES else "",
    "REFERENCE_TABLES": {
        "accounts_membership": "who logs in is looked up before it is known for which tenant",
        "accounts_device": "read with the user behind it, at every request",
        "accounts_apikey": "found by its prefix, which says nothing of a tenant",
    },
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "backend.accounts.authentication.DeviceJWTAuthentication",
        "backend.accounts.key_authentication.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.IsAuthenticated",
        "backend.accounts.key_authentication.MayUseCollection",
    ],
    "DEFAULT_THROTTLE_CLASSES": ["backend.throttling.throttle.RateThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "backend.negotiation.PlainNegotiation",
    "DEFAULT_PARSER_CLASSES": ["backend.json_parser.ShallowJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning",
    "DEFAULT_VERSION": FIRST,
    "ALLOWED_VERSIONS": [*CHAIN],
    "EXCEPTION_HANDLER": "sync.api.exception_handler.problem_response",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Fieldsync",
    "DESCRIPTION": "Offline sync for field apps: push, pull, and the work orders they carry.",
    "VERSION": None,  # that of the address
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": r"/api/v\d+",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "backend.api_description.add_errors",
        "backend.api_description.in_version",
    ],
    "ENUM_NAME_OVERRIDES": {
        "MutationShapeOpEnum": "sync.api.serializers.OPS",
        "AssetStatusEnum": "backend.fieldwork.status.AssetStatus",
        "InspectionStatusEnum": "backend.fieldwork.status.InspectionStatus",
        "WorkOrderStatusEnum": "backend.fieldwork.status.WorkOrderStatus",
    },
    "SWAGGER_UI_DIST": "SIDECAR",  # files of our own: the page works with no internet
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"validatorUrl": None, "persistAuthorization": True},
}

THROTTLE_RATES = env.rates("THROTTLE_RATES")
THROTTLE_REDIS_URL = REDIS_URL
NUM_PROXIES = env.number("NUM_PROXIES", minimum=0, maximum=10)

# --- serving -------------------------------------------------------------------------------

METRICS_TOKEN = env.token("METRICS_TOKEN")
WORKER_THREADS = env.number("WORKER_THREADS", minimum=1, maximum=256)
QUEUE_MAX = env.number("QUEUE_MAX", minimum=1, maximum=100_000)
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # straight from the packages: nothing to collect
WHITENOISE_AUTOREFRESH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024  # bytes; the decoded body of a push

LOG_LEVEL = env.choice("LOG_LEVEL", LOG_LEVELS)
LOG_FORMAT = env.choice("LOG_FORMAT", LOG_FORMATS).lower()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "backend.request_id.RequestIdFilter"}},
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"},
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "%(levelname)s %(name)s %(request_id)s %(message)s",
            "rename_fields": {"levelname": "level", "name": "logger"},
            "timestamp": "time",
            # Django's own, on its records: it has all headers.
            "reserved_attrs": [*RESERVED_ATTRS, "request"],
        },
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT,
            "filters": ["request_id"],
        },
    },
    "loggers": {"django": {"handlers": [], "level": LOG_LEVEL, "propagate": True}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
}
