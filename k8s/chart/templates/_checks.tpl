{{/* Mistakes that the schema cannot see. */}}
{{- define "pintag.checks" -}}
{{- if .Values.server.enabled -}}
{{- include "pintag.serverChecks" . -}}
{{- else if not (or .Values.jobs.train.enabled .Values.jobs.retrain.enabled .Values.jobs.study.enabled .Values.jobs.bulk.enabled) -}}
{{- fail "server.enabled=false makes jobs only, and none is enabled: set jobs.train.enabled=true, or another one" -}}
{{- end -}}
{{- if and .Values.server.enabled .Values.jobs.quota -}}
{{- fail "jobs.quota would count the server's pods too: install the jobs in a namespace of their own, with server.enabled=false" -}}
{{- end -}}
{{- if or (hasKey .Values.commonLabels "app.kubernetes.io/name") (hasKey .Values.pods.labels "app.kubernetes.io/name") -}}
{{- fail "commonLabels and pods.labels cannot have app.kubernetes.io/name: KubeRay finds the head by its own (kuberay#2648)" -}}
{{- end -}}
{{- range $pods := list "head" "classifier" "explainer" "jobs" -}}
{{- $store := (get $.Values $pods).objectStore -}}
{{- if lt (include "pintag.storeBytes" $store | int64) 78643200 -}}
{{- fail (printf "%s.objectStore is %s: Ray needs at least 84Mi" $pods $store) -}}
{{- end -}}
{{- end -}}
{{- if and (hasPrefix "/models/" .Values.bundle.uri) .Values.bundle.volume.enabled .Values.bundle.image.reference -}}
{{- fail "bundle.volume and bundle.image are both mounted at /models: choose one" -}}
{{- end -}}
{{- if and .Values.bundle.volume.loadFrom (not .Values.bundle.volume.enabled) -}}
{{- fail "bundle.volume.loadFrom needs bundle.volume.enabled=true" -}}
{{- end -}}
{{- if and .Values.headroom.pods (not .Values.priorityClasses.create) (not .Values.headroom.priorityClassName) -}}
{{- fail "headroom.pods need a priority below 0, or nothing takes their place: set priorityClasses.create=true, or headroom.priorityClassName" -}}
{{- end -}}
{{- if .Values.kuberay.checkDefinitions -}}
{{- $definition := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "rayservices.ray.io" | toJson -}}
{{- if and (contains "rayClusterConfig" $definition) (not (contains "\"authOptions\"" $definition)) -}}
{{- fail "this cluster has definitions of a KubeRay before 1.5.1, without authOptions: Ray would be open to everybody who reaches it. Update the operator and its definitions (helm does not update definitions: kubectl replace -k github.com/ray-project/kuberay/ray-operator/config/crd?ref=v1.5.1)" -}}
{{- end -}}
{{- end -}}
{{- $upgrade := .Values.kuberay.upgrade -}}
{{- if and (eq $upgrade.type "NewClusterWithIncrementalUpgrade") (not $upgrade.gatewayClassName) -}}
{{- fail "kuberay.upgrade.type=NewClusterWithIncrementalUpgrade needs kuberay.upgrade.gatewayClassName" -}}
{{- end -}}
{{- if and (eq $upgrade.type "NewClusterWithIncrementalUpgrade") (or .Values.httpRoute.enabled .Values.ingress.enabled) -}}
{{- fail "kuberay.upgrade.type=NewClusterWithIncrementalUpgrade moves the traffic by a Gateway and a route that KubeRay makes; requests through httpRoute or ingress would still go to the old cluster, which shrinks meanwhile: set httpRoute.enabled=false and ingress.enabled=false" -}}
{{- end -}}
{{- end -}}

{{- define "pintag.serverChecks" -}}
{{- $settings := .Values.settings -}}
{{- if and $settings.access.keys (not .Values.keys.secretName) -}}
{{- fail "the server requires API keys: set keys.secretName to a Secret with keys.yaml (`pintag key` writes it), or settings.access.keys=null and settings.access.allow_anonymous=true to answer everybody" -}}
{{- end -}}
{{- if and (not $settings.access.keys) (not $settings.access.allow_anonymous) -}}
{{- fail "the server has no API keys: set settings.access.keys and keys.secretName, or settings.access.allow_anonymous=true to answer everybody" -}}
{{- end -}}
{{- $kinds := $settings.explainer.enabled | ternary (list "classifier" "explainer") (list "classifier") -}}
{{- range $kind := $kinds -}}
{{- $group := get $.Values $kind -}}
{{- $scaling := (get $settings $kind).autoscaling -}}
{{- $room := mul (int $group.pods.max) (int $group.replicasPerPod) -}}
{{- if gt (int $group.pods.min) (int $group.pods.max) -}}
{{- fail (printf "%s.pods.min is above %s.pods.max" $kind $kind) -}}
{{- end -}}
{{- if gt (int $scaling.min_replicas) (int $scaling.max_replicas) -}}
{{- fail (printf "settings.%s.autoscaling.min_replicas is %d, above max_replicas, %d" $kind (int $scaling.min_replicas) (int $scaling.max_replicas)) -}}
{{- end -}}
{{- $gpus := mulf (get $settings $kind).num_gpus $group.replicasPerPod -}}
{{- if gt $gpus (float64 $group.gpu.count) -}}
{{- fail (printf "%s.replicasPerPod times settings.%s.num_gpus is %g, but %s.gpu.count is %d: no pod has room, and the replicas would wait for ever" $kind $kind $gpus $kind (int $group.gpu.count)) -}}
{{- end -}}
{{- if gt (int $scaling.max_replicas) (int $room) -}}
{{- fail (printf "settings.%s.autoscaling.max_replicas is %d, but %s.pods.max times %s.replicasPerPod have room for %d: change one" $kind (int $scaling.max_replicas) $kind $kind (int $room)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
