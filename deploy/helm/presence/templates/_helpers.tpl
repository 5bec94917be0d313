{{- define "presence.name" -}}
{{ printf "%s-gateway" .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "presence.selector" -}}
app.kubernetes.io/name: presence-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "presence.labels" -}}
{{ include "presence.selector" . }}
app.kubernetes.io/part-of: presence
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* A setting from a key of the secret that need not be there. */}}
{{- define "presence.optional" -}}
- name: {{ .name }}
  valueFrom: { secretKeyRef: { name: {{ .secret }}, key: {{ .key }}, optional: true } }
{{- end }}
