{{/* N: the prefix of every name. The longest suffix, of a Service, leaves it 50 of 63. */}}
{{- define "image-swap.fullname" -}}
{{- $name := ternary .Release.Name (printf "%s-image-swap" .Release.Name) (contains "image-swap" .Release.Name) -}}
{{- $name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{/* What selects the pods of one component: (list $ "admission"). Never changes. */}}
{{- define "image-swap.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: image-swap
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* The labels of every object: (list $ "admission"). */}}
{{- define "image-swap.labels" -}}
{{- $root := index . 0 -}}
{{ include "image-swap.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_") }}
{{- end }}

{{/* The Secret with the chart's own declaration; empty: there is none. */}}
{{- define "image-swap.declarationSecret" -}}
{{- if .Values.existingSecret -}}
{{- .Values.existingSecret -}}
{{- else if include "image-swap.registry" . | fromJson -}}
{{- include "image-swap.fullname" . }}-declaration
{{- end -}}
{{- end }}

{{/* The Secret with the serving certificate. */}}
{{- define "image-swap.tlsSecret" -}}
{{- .Values.tls.existingSecret | default (printf "%s-tls" (include "image-swap.fullname" .)) -}}
{{- end }}
