{{/* The settings of the server with what follows from other values. */}}
{{- define "pintag.settings" -}}
{{- $settings := deepCopy .Values.settings -}}
{{- /* Each application has nodes of its own, which have this resource. */ -}}
{{- range $kind := list "classifier" "explainer" -}}
{{- $_ := set (get $settings $kind) "resources" (merge (dict $kind 1) ((get $settings $kind).resources | default dict)) -}}
{{- end -}}
{{- /* Helm has removed a null, and pintag's classes would have other defaults. */ -}}
{{- $_ := set $settings.access "keys" $settings.access.keys -}}
{{- if and $settings.access.keys (not $settings.access.rate_limits.redis) -}}
{{- $authority := include "pintag.redisCa" . | empty | ternary "" "?ssl_ca_certs=/etc/redis/ca.crt" -}}
{{- $user := and .Values.redis.external.host .Values.redis.external.username | empty | ternary "" (printf "%s@" .Values.redis.external.username) -}}
{{- $_ := set $settings.access.rate_limits "redis" (printf "redis%s://%s%s:%s/1%s" (include "pintag.redisTls" .) $user (include "pintag.redisHost" .) (include "pintag.redisPort" .) $authority) -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* The Serve configuration, as `pintag serve --serve-config` writes it. */}}
{{- define "pintag.serveConfig" -}}
{{- $settings := include "pintag.settings" . | fromYaml -}}
{{- $applications := list -}}
{{- if .Values.bundle.follow -}}
{{- /* Nodes of the classifier can read the registry, and have this resource. */ -}}
{{- $args := merge (dict "bundle" .Values.bundle.uri "follower" (dict "resources" (dict "follower" 1))) $settings -}}
{{- $applications = list (dict "name" "follower" "route_prefix" nil "import_path" "pintag.serve.lifecycle.follower:build" "args" $args) -}}
{{- else -}}
{{- $common := dict "engine" $settings.engine "precision" $settings.precision "log" $settings.log -}}
{{- $public := merge (dict "bundle" .Values.bundle.uri "access" $settings.access "http" (pick $settings.http "cors_origins" "root_path")) $common -}}
{{- $classifier := merge (dict "explained" $settings.explainer.enabled "classifier" $settings.classifier "candidate" $settings.candidate) $public -}}
{{- $applications = list (dict "name" "classifier" "route_prefix" "/" "import_path" "pintag.serve.app:build" "args" $classifier) -}}
{{- if $settings.explainer.enabled -}}
{{- $explainer := merge (dict "explainer" $settings.explainer) $public -}}
{{- $applications = append $applications (dict "name" "explainer" "route_prefix" "/v1/explanations" "import_path" "pintag.serve.app:build_explainer" "args" $explainer) -}}
{{- end -}}
{{- if $settings.candidate.bundle -}}
{{- $deployment := deepCopy $settings.classifier -}}
{{- range $key := list "autoscaling" "niceness" -}}
{{- $_ := set $deployment $key (get $settings.candidate $key) -}}
{{- end -}}
{{- $candidate := merge (dict "bundle" $settings.candidate.bundle "classifier" $deployment) $common -}}
{{- $applications = append $applications (dict "name" "candidate" "route_prefix" nil "import_path" "pintag.serve.app:build_candidate" "args" $candidate) -}}
{{- end -}}
{{- end -}}
{{- /* Runs last, when requests can reach the others: KubeRay then moves the traffic to this cluster. */ -}}
{{- $applications = append $applications (dict "name" "readiness" "route_prefix" nil "import_path" "pintag.serve.lifecycle.readiness:build") -}}
{{- dict "proxy_location" "EveryNode"
  "http_options" (pick $settings.http "host" "port")
  "logging_config" (dict "encoding" (upper $settings.log.format) "log_level" "WARNING")
  "applications" $applications | toYaml -}}
{{- end -}}

{{/* Seconds that the slowest deployment has for its requests in flight, when it stops. */}}
{{- define "pintag.stoppingSeconds" -}}
{{- $explainer := .Values.settings.explainer.enabled | ternary .Values.settings.explainer.graceful_shutdown_timeout_s 0 -}}
{{- maxf .Values.settings.classifier.graceful_shutdown_timeout_s $explainer | printf "%g" -}}
{{- end -}}

{{/* Seconds for which a pod that is deleted goes on answering, until every client of its Service has noticed. */}}
{{- define "pintag.preStopSeconds" -}}
{{- add 15 (int .Values.settings.http.drain_s) -}}
{{- end -}}

{{/* Seconds for which Ray drains a node that gets SIGTERM: its replicas have to drain and stop. */}}
{{- define "pintag.drainSeconds" -}}
{{- addf .Values.settings.http.drain_s (include "pintag.stoppingSeconds" . | float64) | printf "%g" -}}
{{- end -}}

{{/* preStop, then Ray's drain, then 15 s for its processes to end. */}}
{{- define "pintag.graceSeconds" -}}
{{- add (include "pintag.preStopSeconds" . | int) (include "pintag.drainSeconds" . | float64 | ceil | int) 15 -}}
{{- end -}}

{{/* The port of HAProxy's own metrics; empty: it has none. */}}
{{- define "pintag.haproxyPort" -}}
{{- $port := .Values.settings.metrics.haproxy_port -}}
{{- if kindIs "string" $port }}9101{{ else if not (kindIs "bool" $port) }}{{ int $port }}{{ end -}}
{{- end -}}

{{/* The variables of each node, as `pintag serve --environment` prints them; the image sets the paths. */}}
{{- define "pintag.variables" -}}
{{- $s := .Values.settings -}}
{{- $canary := $s.candidate.canary | empty | ternary 0 $s.candidate.deadline_s -}}
{{- $single := addf $s.classifier.deadline_s $canary -}}
PINTAG_ANSWER_TIMEOUT_S: {{ printf "%g" (addf $s.classifier.deadline_s $s.candidate.deadline_s 1) | quote }}
PINTAG_BODY_TIMEOUT_S: {{ printf "%g" (float64 $s.classifier.images.body_timeout_s) | quote }}
PINTAG_DEADLINE_S: {{ printf "%g" (float64 $single) | quote }}
PINTAG_EXPLANATION_TIMEOUT_S: {{ printf "%g" (addf (mulf 1.5 $s.explainer.deadline_s) 1) | quote }}
{{- if kindIs "bool" $s.metrics.haproxy_port }}
PINTAG_HAPROXY_METRICS: "0"
{{- end }}
PINTAG_HOST: {{ $s.http.host | quote }}
PINTAG_MAX_IMAGE_BYTES: {{ max (int64 $s.classifier.images.max_bytes) (int64 $s.explainer.images.max_bytes) | quote }}
PINTAG_MAX_REQUEST_BYTES: {{ max (int64 $s.classifier.images.max_request_bytes) (int64 $s.explainer.images.max_request_bytes) | quote }}
PINTAG_MAX_CONNECTIONS: {{ int64 $s.http.max_connections_per_client | quote }}
PINTAG_MAX_ONGOING_REQUESTS: {{ int64 $s.classifier.max_ongoing_requests | quote }}
PINTAG_MAX_WAITING_BODIES: {{ int64 $s.http.max_waiting_bodies_per_client | quote }}
{{- if $s.http.root_path }}
PINTAG_ROOT_PATH: {{ $s.http.root_path | quote }}
{{- end }}
RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S: {{ include "pintag.drainSeconds" . | quote }}
RAY_SERVE_CONTROL_LOOP_INTERVAL_S: "0.5"
RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S: {{ int $s.http.drain_s | quote }}
RAY_SERVE_ENABLE_HA_PROXY: "1"
RAY_SERVE_HAPROXY_CLOSE_SPREAD_TIME_S: {{ max 1 (div (int $s.http.drain_s) 2) | quote }}
RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER: {{ mulf 1000 (minf (maxf (mulf 0.2 $single) 0.5) 3) | int }}ms
RAY_SERVE_HAPROXY_METRICS_ENABLED: "0"
{{- if not (or (kindIs "bool" $s.metrics.haproxy_port) (kindIs "string" $s.metrics.haproxy_port)) }}
RAY_SERVE_HAPROXY_METRICS_PORT: {{ int $s.metrics.haproxy_port | quote }}
{{- end }}
RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT: "1"
RAY_SERVE_HAPROXY_RETRY_ON: conn-failure empty-response response-timeout 425
RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S: {{ add 10 (ceil (maxf $s.classifier.images.body_timeout_s $s.explainer.images.body_timeout_s) | int) | quote }}
RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S: "2"
RAY_SERVE_HAPROXY_TUNE_BUFSIZE: {{ int64 $s.http.retry_bytes | quote }}
RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S: "2"
RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S: {{ eq (int $s.http.drain_s) 0 | ternary "0.1" (int $s.http.drain_s | toString) | quote }}
RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE: "1"
RAY_SERVE_THROUGHPUT_OPTIMIZED: {{ $s.http.throughput_optimized | ternary "1" "0" | quote }}
{{- if $s.log.traces }}
RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH: ray.serve._private.tracing_utils:default_tracing_exporter
RAY_SERVE_TRACING_SAMPLING_RATIO: {{ $s.log.traces | toString | quote }}
{{- end }}
RAY_USAGE_STATS_ENABLED: "0"
RAY_metrics_report_interval_ms: "2000"
RAY_worker_niceness: "0"
{{- end -}}
