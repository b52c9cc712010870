{{/* A group of workers for one application: (dict "root" $ "kind" "classifier"). */}}
{{- define "pintag.group" -}}
{{- $root := .root -}}
{{- $group := get $root.Values .kind -}}
{{- $settings := get $root.Values.settings .kind -}}
groupName: {{ .kind }}
replicas: {{ $group.pods.min }}
minReplicas: {{ $group.pods.min }}
maxReplicas: {{ $group.pods.max }}
rayStartParams:
  num-cpus: {{ mulf $settings.num_cpus $group.replicasPerPod | ceil | int | quote }}
  {{- if $group.gpu.count }}
  num-gpus: {{ $group.gpu.count | quote }}
  {{- end }}
  metrics-export-port: {{ int $root.Values.settings.metrics.port | quote }}
  object-store-memory: {{ include "pintag.storeBytes" $group.objectStore | quote }}
  {{- $resources := dict .kind (int $group.replicasPerPod) }}
  {{- if and $root.Values.bundle.follow (eq .kind "classifier") }}
  {{- $_ := set $resources "follower" 1 }}
  {{- end }}
  resources: {{ printf "'%s'" (toJson $resources) | quote }}
template:
  metadata:
    labels:
      {{- include "pintag.labels" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .kind }}
      {{- with $root.Values.pods.labels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with $root.Values.pods.annotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    {{- include "pintag.pod" $root | nindent 4 }}
    serviceAccountName: {{ include "pintag.serviceAccount" $root }}
    automountServiceAccountToken: false
    enableServiceLinks: false
    {{- $priority := $group.priorityClassName }}
    {{- if eq .kind "explainer" }}
    {{- $priority = include "pintag.priority" (dict "root" $root "kind" .kind "given" $priority) }}
    {{- end }}
    {{- with $priority }}
    priorityClassName: {{ . }}
    {{- end }}
    {{- with $group.gpu.runtimeClassName }}
    runtimeClassName: {{ . }}
    {{- end }}
    terminationGracePeriodSeconds: {{ include "pintag.graceSeconds" $root }}
    {{- include "pintag.placement" (dict "root" $root "group" $group) | nindent 4 }}
    topologySpreadConstraints:
      {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
      - maxSkew: 1
        topologyKey: {{ . }}
        whenUnsatisfiable: ScheduleAnyway
        matchLabelKeys: [ray.io/cluster] # the pods of an old cluster do not count during a roll-out
        labelSelector:
          matchLabels:
            {{- include "pintag.selector" $root | nindent 12 }}
            app.kubernetes.io/component: {{ $.kind }}
      {{- end }}
    {{- if include "pintag.isBundleMounted" $root }}
    initContainers:
      # Replicas start when their bundle has been copied and verified. Until then each attempt is an event of the pod, with
      # the reason: only the startup probe of a container that goes on running makes such events.
      - name: bundle
        restartPolicy: Always
        {{- include "pintag.container" $root | nindent 8 }}
        command: [sh, -c, 'trap "exit 0" TERM; sleep infinity & wait']
        startupProbe:
          exec:
            command: [pintag, models, fetch, {{ $root.Values.bundle.uri | quote }}{{ if not $root.Values.bundle.follow }}, --no-registry{{ end }}]
          periodSeconds: 10
          timeoutSeconds: 600
          failureThreshold: 1000000 # for ever
        env:
          {{- include "pintag.commonEnvironment" $root | trim | nindent 10 }}
        {{- with include "pintag.environmentSources" $root }}
        {{- . | nindent 8 }}
        {{- end }}
        resources:
          requests: { cpu: 10m, memory: 64Mi }
          limits: { cpu: "1", memory: 1Gi }
        volumeMounts:
          {{- include "pintag.mounts" (dict "root" $root "kind" "worker") | nindent 10 }}
    {{- end }}
    containers:
      - name: ray
        {{- include "pintag.container" $root | nindent 8 }}
        env:
          {{- include "pintag.nodeEnvironment" $root | trim | nindent 10 }}
          # KubeRay's default is ten minutes: without a head for so long, nodes that answer would end.
          - { name: RAY_gcs_rpc_server_reconnect_timeout_s, value: "86400" }
        {{- with include "pintag.environmentSources" $root }}
        {{- . | nindent 8 }}
        {{- end }}
        ports:
          - { name: serve, containerPort: {{ int $root.Values.settings.http.port }} }
          - { name: metrics, containerPort: {{ int $root.Values.settings.metrics.port }} }
          {{- with include "pintag.haproxyPort" $root }}
          - { name: haproxy, containerPort: {{ . }} }
          {{- end }}
        # Ours, not KubeRay's: a pod that answers stays in the Service while the head or Ray's agent is busy or gone.
        readinessProbe:
          httpGet: { path: "/-/healthz?node", port: serve }
          # A node without replicas goes on answering for drain_s: it must be out of the Service by then. But a reload of HAProxy
          # must not take it out.
          periodSeconds: 1
          timeoutSeconds: 2
          failureThreshold: 4
        livenessProbe: # the raylet has been dead for two minutes
          httpGet: { path: /api/local_raylet_healthz, port: 52365 }
          initialDelaySeconds: 60
          periodSeconds: 10
          timeoutSeconds: 10
          failureThreshold: 12
        lifecycle:
          preStop: # the pod is removed from the endpoints before it stops answering
            exec: { command: [sleep, {{ include "pintag.preStopSeconds" $root | quote }}] }
        resources:
          {{- include "pintag.resources" $group | nindent 10 }}
        volumeMounts:
          {{- include "pintag.mounts" (dict "root" $root "kind" "worker") | nindent 10 }}
    volumes:
      {{- include "pintag.volumes" (dict "root" $root "kind" "worker" "objectStore" $group.objectStore) | nindent 6 }}
{{- end -}}

{{/* The resources of a group, with its GPUs. */}}
{{- define "pintag.resources" -}}
{{- $resources := deepCopy .resources -}}
{{- if .gpu.count -}}
{{- $_ := set $resources "limits" (merge (dict .gpu.resource .gpu.count) ($resources.limits | default dict)) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}
