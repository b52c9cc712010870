{{/* The name of this installation: two releases, or two aliases of a subchart, have different ones. KubeRay and the
     jobs append to it, so it is short. */}}
{{- define "pintag.name" -}}
{{- $chart := .Values.nameOverride | default .Chart.Name -}}
{{- $long := .Values.fullnameOverride | default (contains $chart .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $chart)) -}}
{{- $name := gt (len $long) 32 | ternary (printf "%s-%s" (trunc 25 $long | trimSuffix "-") (sha256sum $long | trunc 6)) $long -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "the name %q does not begin with a letter, or has other characters than a-z, 0-9 and -: set fullnameOverride" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* What selects the pods of this installation. `app.kubernetes.io/name` is KubeRay's own: set on a head, it would hide
     the head from its service (kuberay#2648). */}}
{{- define "pintag.selector" -}}
app.kubernetes.io/part-of: pintag
app.kubernetes.io/instance: {{ include "pintag.name" . }}
{{- end -}}

{{- define "pintag.labels" -}}
{{ include "pintag.selector" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The metadata of an object: (dict "root" $ "name" "suffix, or empty" "fullName" "in its place" "annotations" dict
     "labels" dict) */}}
{{- define "pintag.metadata" -}}
{{- $name := include "pintag.name" .root -}}
name: {{ .fullName | default (.name | empty | ternary $name (printf "%s-%v" $name .name)) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "pintag.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A tag or run that may be a number: in a file of values 20261201 is a float, which would become 2.0261201e+07. */}}
{{- define "pintag.text" -}}
{{- kindIs "float64" . | ternary (int64 .) . -}}
{{- end -}}

{{- define "pintag.image" -}}
{{- $image := .Values.image -}}
{{- $name := empty $image.registry | ternary $image.repository (printf "%s/%s" $image.registry $image.repository) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (include "pintag.text" ($image.tag | default .Chart.AppVersion)) -}}
{{- end -}}
{{- end -}}

{{- define "pintag.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "pintag.name" .) "default") -}}
{{- end -}}

{{- define "pintag.redisSecret" -}}
{{- .Values.redis.secretName | default (printf "%s-redis" (include "pintag.name" .)) -}}
{{- end -}}

{{- define "pintag.redisHost" -}}
{{- .Values.redis.external.host | default (printf "%s-redis" (include "pintag.name" .)) -}}
{{- end -}}

{{- define "pintag.redisPort" -}}
{{- .Values.redis.external.host | empty | ternary 6379 (int .Values.redis.external.port) -}}
{{- end -}}

{{- define "pintag.redisTls" -}}
{{- if and .Values.redis.external.host .Values.redis.external.tls }}s{{ end -}}
{{- end -}}

{{/* Whether Redis's certificate is signed by an authority of the user's own. */}}
{{- define "pintag.redisCa" -}}
{{- if include "pintag.redisTls" . }}{{ .Values.redis.external.caSecretName }}{{ end -}}
{{- end -}}

{{/* The address of the server within the cluster. */}}
{{- define "pintag.url" -}}
{{- printf "http://%s-serve-svc:%d" (include "pintag.name" .) (int .Values.settings.http.port) -}}
{{- end -}}

{{/* The priority class of explainer or jobs: (dict "root" $ "kind" "explainer" "given" "a class, or empty") */}}
{{- define "pintag.priority" -}}
{{- if .given }}{{ .given }}{{ else if .root.Values.priorityClasses.create -}}
{{ printf "%s-%s-%s" .root.Release.Namespace (include "pintag.name" .root) .kind }}
{{- end -}}
{{- end -}}
