{{/* The security context of every container, as the Pod Security Standard `restricted` requires it. */}}
{{- define "pintag.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* What all pods with the image have in common. */}}
{{- define "pintag.pod" -}}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "pintag.container" -}}
image: {{ include "pintag.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- include "pintag.containerSecurity" . | nindent 2 }}
{{- end -}}

{{/* Where pods are placed: (dict "root" $ "group" .Values.classifier) */}}
{{- define "pintag.placement" -}}
{{- $pods := .root.Values.pods -}}
tolerations: # a node that is cut off or dead is given up after half a minute, not after five
  - { key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 30 }
  - { key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 30 }
  {{- range concat .group.tolerations $pods.tolerations }}
  - {{ toYaml . | nindent 4 | trim }}
  {{- end }}
{{- with merge (dict) .group.nodeSelector $pods.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .group.affinity | default $pods.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The variables of a Ray container. HOME and USER: a user ID that somebody else chose has no entry in passwd. */}}
{{- define "pintag.nodeEnvironment" -}}
{{- range $name, $value := include "pintag.variables" . | fromYaml }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- include "pintag.commonEnvironment" . }}
{{- /* By default Ray's processes notice after two minutes that another node has left the network. Replicas that do not
answer a new head within 30 s are replaced (decision 35). */}}
- { name: RAY_grpc_client_keepalive_timeout_ms, value: "10000" }
- name: PINTAG_REDIS_PASSWORD # for access.rate_limits.redis
  valueFrom:
    secretKeyRef: { name: {{ include "pintag.redisSecret" . }}, key: {{ .Values.redis.secretKey }} }
{{- if include "pintag.redisCa" . }}
- { name: RAY_REDIS_CA_CERT, value: /etc/redis/ca.crt }
{{- end }}
{{- end -}}

{{- define "pintag.commonEnvironment" }}
- { name: HOME, value: /home/pintag }
- { name: USER, value: pintag }
{{- /* Ray keeps at most this much of each of its log files. */}}
- { name: RAY_ROTATION_MAX_BYTES, value: "16777216" }
- { name: RAY_ROTATION_BACKUP_COUNT, value: "2" }
{{- /* `kubectl logs` and collectors of logs read the container's output. Ray would write to files only. */}}
- { name: RAY_LOG_TO_STDERR, value: "1" }
- { name: RAY_SERVE_LOG_TO_STDERR, value: "1" }
- { name: RAY_BACKEND_LOG_LEVEL, value: warning }
{{- with .Values.pods.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "pintag.environmentSources" -}}
{{- $sources := .Values.pods.envFrom -}}
{{- with .Values.bundle.secretName -}}
{{- $sources = append $sources (dict "secretRef" (dict "name" .)) -}}
{{- end -}}
{{- with $sources -}}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The mounts of a container: (dict "root" $ "kind" "head", "worker" or "job"). A head has neither bundles nor keys: it
     runs no replica, and the pod that KubeRay makes of it at the end has to start when the release is gone. */}}
{{- define "pintag.mounts" -}}
- { name: tmp, mountPath: /tmp }
- { name: home, mountPath: /home/pintag }
- { name: shm, mountPath: /dev/shm }
{{- if and (include "pintag.hasModels" .root) (ne .kind "head") }}
- { name: models, mountPath: /models, readOnly: {{ eq .kind "worker" }} }
{{- end }}
{{- if and .root.Values.keys.secretName (eq .kind "worker") }}
- { name: keys, mountPath: /etc/pintag, readOnly: true }
{{- end }}
{{- if include "pintag.redisCa" .root }}
- { name: redis-ca, mountPath: /etc/redis, readOnly: true }
{{- end }}
{{- with .root.Values.pods.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Whether something is mounted at /models. */}}
{{- define "pintag.hasModels" -}}
{{- if or .Values.bundle.volume.enabled .Values.bundle.image.reference }}yes{{ end -}}
{{- end -}}

{{/* Whether the bundle is elsewhere than in the image. */}}
{{- define "pintag.isBundleMounted" -}}
{{- if or (contains "://" .Values.bundle.uri) (include "pintag.hasModels" .) .Values.pods.volumeMounts }}yes{{ end -}}
{{- end -}}

{{- define "pintag.claim" -}}
{{- .Values.bundle.volume.existingClaim | default (printf "%s-models" (include "pintag.name" .)) -}}
{{- end -}}

{{/* The volumes of pintag.mounts: (dict "root" $ "kind" "head" "objectStore" "256Mi") */}}
{{- define "pintag.volumes" -}}
{{- $root := .root -}}
- name: tmp # Ray's sessions and logs
  emptyDir: { sizeLimit: {{ $root.Values.pods.logs }} }
- name: home # copies of bundles
  emptyDir: { sizeLimit: {{ $root.Values.pods.cache }} }
- name: shm # Ray's object store
  emptyDir: { medium: Memory, sizeLimit: {{ .objectStore }} }
{{- if eq .kind "head" }}
{{- else if $root.Values.bundle.image.reference }}
- name: models
  image: { reference: {{ $root.Values.bundle.image.reference }}, pullPolicy: {{ $root.Values.bundle.image.pullPolicy }} }
{{- else if $root.Values.bundle.volume.enabled }}
- name: models
  persistentVolumeClaim: { claimName: {{ include "pintag.claim" $root }}, readOnly: {{ eq .kind "worker" }} }
{{- end }}
{{- if and $root.Values.keys.secretName (eq .kind "worker") }}
- name: keys # a changed Secret is read within a minute or two, without a restart
  secret: { secretName: {{ $root.Values.keys.secretName }} }
{{- end }}
{{- if include "pintag.redisCa" $root }}
- name: redis-ca
  secret: { secretName: {{ $root.Values.redis.external.caSecretName }} }
{{- end }}
{{- with $root.Values.pods.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A quantity of memory in bytes, less a tenth: Ray's object store must be smaller than its shared memory. */}}
{{- define "pintag.storeBytes" -}}
{{- $units := dict "Mi" 1048576 "Gi" 1073741824 -}}
{{- $unit := regexFind "[MG]i$" . -}}
{{- div (mul (trimSuffix $unit . | int64) (get $units $unit) 9) 10 -}}
{{- end -}}

{{/* Python that fails if the head's raylet or its autoscaler does not answer. */}}
{{- define "pintag.headCheck" -}}
from urllib.request import urlopen; [urlopen("http://127.0.0.1:" + url, timeout=4) for url in ("52365/api/local_raylet_healthz", "44217/metrics")]
{{- end -}}
