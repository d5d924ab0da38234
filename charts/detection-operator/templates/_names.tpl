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

{{- define "detection-operator.reportURL" -}}
{{- $service := printf "http://%s.%s.svc:%v" (include "detection-operator.fullname" .) .Release.Namespace .Values.service.port -}}
{{- .Values.reportURL | default $service -}}
{{- end -}}

{{- /* What the operator does in a namespace: no wildcard, no Secret, nothing written but its own. */ -}}
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

{{- /* What replicas do in the release's namespace to agree on who plans. */ -}}
{{- define "detection-operator.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "detection-operator.fullname" . }}]
  verbs: [get, watch, update]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
{{- end -}}
