{{- define "detection-operator.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "detection-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "detection-operator.labels" -}}
{{ include "detection-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "detection-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "detection-operator.fullname" .) -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "detection-operator.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Whether trainers report over TLS: the scheme of reportURL decides, if it is set. */ -}}
{{- define "detection-operator.tls" -}}
{{- if .Values.reportURL -}}
{{- if hasPrefix "https://" .Values.reportURL -}}true{{- end -}}
{{- else if .Values.reports.tls.enabled -}}true{{- end -}}
{{- end -}}

{{- /* What trainers' pods have where the podTemplate of a training does not decide, as JSON. */ -}}
{{- define "detection-operator.podDefaults" -}}
{{- pick .Values.trainer "imagePullSecrets" "podLabels" "podAnnotations" "nodeSelector" "tolerations" "priorityClassName" "runtimeClassName" "env" | mustToJson -}}
{{- end -}}

{{- define "detection-operator.host" -}}
{{- printf "%s.%s.svc" (include "detection-operator.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "detection-operator.reportURL" -}}
{{- $host := include "detection-operator.host" . -}}
{{- if .Values.reportURL -}}
{{- .Values.reportURL -}}
{{- else if include "detection-operator.tls" . -}}
{{- printf "https://%s:%v" $host .Values.service.port -}}
{{- else -}}
{{- printf "http://%s:%v" $host .Values.service.plainPort -}}
{{- end -}}
{{- end -}}

{{- /* The Secret with the certificate that the operator creates; empty if it creates none. */ -}}
{{- define "detection-operator.servingSecret" -}}
{{- if and (include "detection-operator.tls" .) (not .Values.reports.tls.secretName) -}}
{{- include "detection-operator.fullname" . }}-serving
{{- end -}}
{{- end -}}

{{- /* Whether the operator may ask the cluster which users may read its metrics. */ -}}
{{- define "detection-operator.reviews" -}}
{{- if and .Values.metrics.authentication (or .Values.rbac.authDelegator (not .Values.watchNamespaces)) -}}true{{- end -}}
{{- end -}}

{{- /* The operator's rights in a watched namespace: no wildcard, no Secret, no write to a training but its status. */ -}}
{{- define "detection-operator.rules" -}}
- apiGroups: [detectiontraining.dev]
  resources: [detectiontrainings]
  verbs: [get, list, watch]
- apiGroups: [detectiontraining.dev]
  resources: [detectiontrainings/status]
  verbs: [patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims, services]
  verbs: [get, create]
{{- if .Values.trainer.severalWorkers }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, create, update]
{{- end }}
- apiGroups: [""]
  resources: [events]
  verbs: [list, create]
# spec.pipelineConfig.configMapKeyRef
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
{{- end -}}

{{- /*
The rights in the release's namespace with which replicas elect the one that plans. The Service is the
owner of the Lease and of the serving Secret. `delete` is what the admission plugin
OwnerReferencesPermissionEnforcement asks for before it lets an owner be set; the operator deletes neither.
*/ -}}
{{- define "detection-operator.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "detection-operator.fullname" . }}]
  verbs: [get, watch, update, delete]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [""]
  resources: [services]
  resourceNames: [{{ include "detection-operator.fullname" . }}]
  verbs: [get]
{{- end -}}

{{- /* The one Secret that the operator reads and writes, in the release's namespace. */ -}}
{{- define "detection-operator.servingRules" -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "detection-operator.servingSecret" . }}]
  verbs: [get, update, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
{{- end -}}
