{{/* The block of the registry as JSON, from either place; {} without one. */}}
{{- define "image-swap.registry" -}}
{{- $config := .Values.config | default dict -}}
{{- .Values.ociImageRegistry | default $config.ociImageRegistry | default dict | toJson -}}
{{- end }}

{{/* The registry's host, without scheme and trailing slashes. */}}
{{- define "image-swap.registryHost" -}}
{{- $registry := include "image-swap.registry" . | fromJson -}}
{{- $endpoint := $registry.endpoint | default "" | toString | trim -}}
{{- regexReplaceAll "^[a-zA-Z]+://" $endpoint "" | trimAll "/" -}}
{{- end }}

{{/* "true" if image-swap's own image is pulled from the declared registry. */}}
{{- define "image-swap.imageIsDeclared" -}}
{{- if and (not .Values.image.registry) (include "image-swap.registry" . | fromJson) -}}true{{- end -}}
{{- end }}

{{/* The image of every container. */}}
{{- define "image-swap.image" -}}
{{- $image := .Values.image -}}
{{- $name := join "/" (compact (list (include "image-swap.imageRegistry" .) $image.repository)) -}}
{{- if $image.digest -}}
{{- $name }}@{{ $image.digest }}
{{- else -}}
{{- $name }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The registry of the image of every container, with the base path; empty without one. */}}
{{- define "image-swap.imageRegistry" -}}
{{- $parts := list .Values.image.registry -}}
{{- if include "image-swap.imageIsDeclared" . -}}
{{- $registry := include "image-swap.registry" . | fromJson -}}
{{- $parts = list (include "image-swap.registryHost" .) ($registry.baseContentPath | default "" | toString | trim | trimAll "/") -}}
{{- end -}}
{{- join "/" (compact $parts) -}}
{{- end }}

{{/* "true" if the pull of image-swap's own image needs the declared credential. A workload cluster
may declare one. */}}
{{- define "image-swap.imageNeedsSecret" -}}
{{- $registry := include "image-swap.registry" . | fromJson -}}
{{- if or .Bundle (and (include "image-swap.imageIsDeclared" .) $registry.username) -}}true{{- end -}}
{{- end }}

{{/* The declared credential as a file config.json of Docker, in base64. */}}
{{- define "image-swap.dockerConfig" -}}
{{- if .Bundle -}}
@pull-secret@
{{- else -}}
{{- $registry := include "image-swap.registry" . | fromJson -}}
{{/* As the controller reads them: without the line break that `echo` or a block of YAML appends. */}}
{{- $username := $registry.username | toString | trim -}}
{{- $password := regexReplaceAll "[\\r\\n]+$" ($registry.password | default "" | toString) "" -}}
{{- $auth := printf "%s:%s" $username $password | b64enc -}}
{{- $auths := dict (include "image-swap.registryHost" .) (dict "auth" $auth) -}}
{{- dict "auths" $auths | toJson | b64enc -}}
{{- end -}}
{{- end }}
