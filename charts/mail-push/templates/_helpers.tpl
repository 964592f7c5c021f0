{{- define "mail-push.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "mail-push.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "mail-push.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "mail-push.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* What has no namespace needs a name that a release in another namespace does not take. */}}
{{- define "mail-push.clusterName" -}}
{{- printf "%s-%s" (include "mail-push.namespace" .) (include "mail-push.fullname" .) -}}
{{- end -}}

{{- define "mail-push.listenerClusterRole" -}}
{{- printf "%s-listener" (include "mail-push.clusterName" .) -}}
{{- end -}}

{{- define "mail-push.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "mail-push.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "mail-push.hooksName" -}}
{{- printf "%s-hooks" (include "mail-push.fullname" .) -}}
{{- end -}}

{{/* A JSON list: where the operator looks for MailPushConfigs. */}}
{{- define "mail-push.watchNamespaces" -}}
{{- default (list (include "mail-push.namespace" .)) .Values.watchNamespaces | uniq | sortAlpha | toJson -}}
{{- end -}}

{{- define "mail-push.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "mail-push.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "mail-push.operatorSelector" -}}
app.kubernetes.io/name: {{ include "mail-push.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "mail-push.image" -}}
{{- $registry := .Values.image.registry -}}
{{- with .Values.global -}}
{{- $registry = default $registry .imageRegistry -}}
{{- end -}}
{{- $name := .Values.image.repository -}}
{{- if $registry -}}{{- $name = printf "%s/%s" $registry $name -}}{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* A JSON list of names; global.imagePullSecrets first. Each may be a name or an object with a name. */}}
{{- define "mail-push.pullSecretNames" -}}
{{- $names := list -}}
{{- $global := list -}}
{{- with .Values.global -}}{{- $global = default list .imagePullSecrets -}}{{- end -}}
{{- range concat $global .Values.imagePullSecrets -}}
{{- if kindIs "map" . -}}{{- $names = append $names .name -}}{{- else -}}{{- $names = append $names . -}}{{- end -}}
{{- end -}}
{{- $names | uniq | toJson -}}
{{- end -}}

{{- define "mail-push.imagePullSecrets" -}}
{{- with include "mail-push.pullSecretNames" . | fromJsonArray -}}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end -}}
{{- end -}}
