{{- /*
What values.schema.json cannot say: values that contradict each other, or the release's name. Each
message has what was received, what was expected, and what to do.
*/ -}}
{{- define "detection-operator.validate" -}}
{{- $name := include "detection-operator.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "release name: the Service would be named %q; expected lower-case letters, digits and hyphens that begin with a letter: choose another release name" $name) -}}
{{- end -}}
{{- $own := include "detection-operator.labels" . | fromYaml -}}
{{- range $key, $value := .Values.podLabels -}}
{{- if hasKey $own $key -}}
{{- fail (printf "podLabels: received %s=%q, but the chart sets this label (%q)%s; expected other labels: remove it from podLabels" $key $value (get $own $key) (ternary ", by which the Deployment and the Service find their pods" "" (has $key (list "app.kubernetes.io/name" "app.kubernetes.io/instance")))) -}}
{{- end -}}
{{- end -}}
{{- include "detection-operator.validatePorts" . -}}
{{- with .Values.trainer -}}
{{- if lt (float64 .backoffCapSeconds) (float64 .backoffBaseSeconds) -}}
{{- fail (printf "trainer.backoffCapSeconds: received %v; expected at least trainer.backoffBaseSeconds (%v): raise the cap or lower the base" .backoffCapSeconds .backoffBaseSeconds) -}}
{{- end -}}
{{- end -}}
{{- range $name := list "podLabels" "podAnnotations" -}}
{{- range $key, $value := index $.Values.trainer $name -}}
{{- if hasPrefix "detectiontraining.dev/" $key -}}
{{- fail (printf "trainer.%s: received %s=%q, but keys that begin with detectiontraining.dev/ are the operator's own; expected other keys: remove it" $name $key $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range .Values.trainer.env -}}
{{- if or (hasPrefix "DETECTION_TRAINER_" .name) (has .name (list "TF_CONFIG" "WORKER_INDEX")) -}}
{{- fail (printf "trainer.env: received %s, which the operator sets itself; expected other variables: remove it" .name) -}}
{{- end -}}
{{- if and (hasKey . "value") (hasKey . "valueFrom") -}}
{{- fail (printf "trainer.env: received both value and valueFrom for %s; expected one of them: remove the other" .name) -}}
{{- end -}}
{{- end -}}
{{- range .Values.trainer.tolerations -}}
{{- if and (eq (.operator | default "Equal") "Exists") .value -}}
{{- fail (printf "trainer.tolerations: received operator Exists with value %q; expected no value: remove it, or use operator Equal" .value) -}}
{{- end -}}
{{- if and (hasKey . "tolerationSeconds") (ne (.effect | default "") "NoExecute") -}}
{{- fail (printf "trainer.tolerations: received tolerationSeconds with effect %q; expected effect NoExecute: change the effect, or remove tolerationSeconds" (.effect | default "")) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.reportURL .Values.reports.tls.secretName (not (include "detection-operator.tls" .)) -}}
{{- fail (printf "reports.tls.secretName: received %q with a reportURL of plain HTTP (%s); expected an https:// address: change reportURL, or remove the Secret" .Values.reports.tls.secretName .Values.reportURL) -}}
{{- end -}}
{{- end -}}

{{- /* The ports of a Service must differ. Unused ports are not compared. */ -}}
{{- define "detection-operator.validatePorts" -}}
{{- $tls := include "detection-operator.tls" . -}}
{{- $names := list "metricsPort" -}}
{{- if $tls -}}{{- $names = append $names "port" -}}{{- end -}}
{{- if or .Values.reports.plainHTTP (not $tls) -}}{{- $names = append $names "plainPort" -}}{{- end -}}
{{- $seen := dict -}}
{{- range $names -}}
{{- $port := index $.Values.service . | toString -}}
{{- if hasKey $seen $port -}}
{{- fail (printf "service.%s and service.%s: received %s for both; expected different ports: change one of them" . (get $seen $port) $port) -}}
{{- end -}}
{{- $_ := set $seen $port . -}}
{{- end -}}
{{- end -}}
