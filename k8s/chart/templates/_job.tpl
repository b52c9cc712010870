{{/* A node of a job: (dict "root" $ "head" true) */}}
{{- define "pintag.jobNode" -}}
{{- $root := .root -}}
{{- $jobs := $root.Values.jobs -}}
metadata:
  labels:
    {{- include "pintag.labels" $root | nindent 4 }}
    app.kubernetes.io/component: job
    {{- with $root.Values.pods.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations: # a moved head would begin again
    cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
    karpenter.sh/do-not-disrupt: "true"
    {{- with $root.Values.pods.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "pintag.pod" $root | nindent 2 }}
  serviceAccountName: {{ include "pintag.serviceAccount" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with include "pintag.priority" (dict "root" $root "kind" "jobs" "given" $jobs.priorityClassName) }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- include "pintag.placement" (dict "root" $root "group" $jobs) | nindent 2 }}
  {{- if not .head }}
  {{- with $jobs.gpu.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- end }}
  containers:
    - name: ray
      {{- include "pintag.container" $root | nindent 6 }}
      env:
        - { name: RAY_worker_niceness, value: "0" }
        - { name: RAY_USAGE_STATS_ENABLED, value: "0" }
        {{- include "pintag.commonEnvironment" $root | trim | nindent 8 }}
      {{- with include "pintag.environmentSources" $root }}
      {{- . | nindent 6 }}
      {{- end }}
      ports: # without `dashboard` KubeRay would wait for the head for ever
        {{- if .head }}
        - { name: gcs-server, containerPort: 6379 }
        - { name: dashboard, containerPort: 8265 }
        {{- end }}
        - { name: metrics, containerPort: 8080 }
      resources:
        {{- if .head }}
        {{- toYaml $jobs.resources | nindent 8 }}
        {{- else }}
        {{- include "pintag.resources" $jobs | nindent 8 }}
        {{- end }}
      volumeMounts:
        {{- include "pintag.mounts" (dict "root" $root "kind" "job") | nindent 8 }}
        {{- if $jobs.dataClaim }}
        - { name: data, mountPath: /data, readOnly: true }
        {{- end }}
  volumes:
    {{- include "pintag.volumes" (dict "root" $root "kind" "job" "objectStore" $jobs.objectStore) | nindent 4 }}
    {{- with $jobs.dataClaim }}
    - name: data
      persistentVolumeClaim: { claimName: {{ . }}, readOnly: true }
    {{- end }}
{{- end -}}
