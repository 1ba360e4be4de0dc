{{- define "upswell.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "upswell.installation" -}}
{{- .Values.installation | default (.Release.Name | trunc 30 | trimSuffix "-") -}}
{{- end -}}

{{- define "upswell.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end -}}

{{/* The labels of a part: (dict "root" $ "part" "monitor") */}}
{{- define "upswell.selector" -}}
app.kubernetes.io/name: upswell
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "upswell.labels" -}}
{{ include "upswell.selector" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{- define "upswell.settings" -}}
{{- $own := dict "image" (include "upswell.image" .) "installation" (include "upswell.installation" .) "pod_template" "/etc/upswell/pod-template.yaml" "grace_seconds" (.Values.graceSeconds | int) -}}
{{- $all := merge (dict "fleet" "kubernetes" "fleets" (dict "kubernetes" $own)) .Values.settings -}}
{{- /* Helm reads every number as a float; a setting that counts takes none. */ -}}
{{ regexReplaceAll "(?m)= (-?[0-9]+)\\.0$" (toToml (merge $all (dict "apps" .Values.apps))) "= ${1}" }}
{{- end -}}
