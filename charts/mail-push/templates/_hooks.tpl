{{/* What both Jobs have in common: everything of a pod's spec but containers and volumes. */}}
{{- define "mail-push.hookPod" -}}
restartPolicy: Never
serviceAccountName: {{ include "mail-push.hooksName" . }}
{{- with include "mail-push.imagePullSecrets" . }}
{{ . }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "mail-push.hookContainer" -}}
image: {{ include "mail-push.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
# What `mail-push` says last is what `kubectl describe pod` shows.
terminationMessagePolicy: FallbackToLogsOnError
resources:
  {{- toYaml .Values.hooks.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end -}}

{{- define "mail-push.hookLabels" -}}
app.kubernetes.io/name: {{ include "mail-push.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: hooks
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* How long a Job's command waits: it should end, and say why, before Kubernetes ends the Job. */}}
{{- define "mail-push.hookPatience" -}}
{{- max 5 (sub (int .Values.hooks.timeoutSeconds) 60) -}}
{{- end -}}
