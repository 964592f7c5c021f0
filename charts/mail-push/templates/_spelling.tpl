{{/*
Keys that are nearly ours. Values files of whole stacks hold other charts' values too, so an unknown key is passed over; one
that differs from ours by its case, a dash, a plural or a letter is a slip, and refused with the right spelling.
*/}}

{{/* A key without what people write differently: case, dashes, the plural. */}}
{{- define "mail-push.plainKey" -}}
{{- . | lower | replace "-" "" | replace "_" "" | trimSuffix "es" | trimSuffix "s" -}}
{{- end -}}

{{/* A JSON list: the key, and the key with any one letter less. Two that have one in common differ by a letter or two. */}}
{{- define "mail-push.keyVariants" -}}
{{- $text := . -}}
{{- $variants := list $text -}}
{{- range $at := until (len $text) -}}
{{- $variants = append $variants (printf "%s%s" (substr 0 $at $text) (substr (int (add $at 1)) (len $text) $text)) -}}
{{- end -}}
{{- $variants | toJson -}}
{{- end -}}

{{/* The known key that is meant, or nothing. Short keys count only in another case, as `images` is a word too. Arguments: key, known. */}}
{{- define "mail-push.nearestKey" -}}
{{- $plain := include "mail-push.plainKey" .key -}}
{{- $variants := dict -}}
{{- range include "mail-push.keyVariants" $plain | fromJsonArray -}}
{{- $_ := set $variants . true -}}
{{- end -}}
{{- $meant := "" -}}
{{- range $known := .known -}}
{{- if not $meant -}}
{{- $knownPlain := include "mail-push.plainKey" $known -}}
{{- if ge (len $known) 6 -}}
{{- if eq $plain $knownPlain -}}
{{- $meant = $known -}}
{{- else if le (int (max (sub (len $plain) (len $knownPlain)) (sub (len $knownPlain) (len $plain)))) 1 -}}
{{- range include "mail-push.keyVariants" $knownPlain | fromJsonArray -}}
{{- if hasKey $variants . -}}{{- $meant = $known -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- else if eq (lower $.key) (lower $known) -}}
{{- $meant = $known -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $meant -}}
{{- end -}}

{{/* Refuses keys of a map that are nearly one of the known ones. Arguments: map, known, path (with a dot behind, or empty). */}}
{{- define "mail-push.checkKeys" -}}
{{- $known := .known -}}
{{- $path := .path -}}
{{- if kindIs "map" .map -}}
{{- range $key, $_ := .map -}}
{{- if not (has $key $known) -}}
{{- with include "mail-push.nearestKey" (dict "key" $key "known" $known) -}}
{{- fail (printf "%s%s is not a value of this chart: write %s%s" $path $key $path .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Refuses slips in everything that users write at the top and below core-mw. Argument: root context. */}}
{{- define "mail-push.checkSpelling" -}}
{{- $known := (.Files.Get "files/known.json" | fromJson).values -}}
{{- include "mail-push.checkKeys" (dict "map" .Values "known" $known "path" "") -}}
{{- range $key, $_ := .Values -}}
{{- range $ours := list "core-mw." "appsuite." "mailPushConfig." -}}
{{- if hasPrefix $ours $key -}}
{{- fail (printf "%s is one key with dots in it: write its parts below each other, beginning with %s" $key (trimSuffix "." $ours)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if kindIs "map" .Values.appsuite -}}
{{- include "mail-push.checkKeys" (dict "map" .Values.appsuite "known" (list "core-mw") "path" "appsuite.") -}}
{{- end -}}
{{- range $place := include "mail-push.coreMws" . | fromJsonArray -}}
{{- include "mail-push.checkKeys" (dict "map" $place.value "known" (list "packages" "features" "properties") "path" (printf "%s." $place.path)) -}}
{{- include "mail-push.checkKeys" (dict "map" $place.value.packages "known" (list "status" "whitelist") "path" (printf "%s.packages." $place.path)) -}}
{{- include "mail-push.checkKeys" (dict "map" $place.value.features "known" (list "status" "definitions") "path" (printf "%s.features." $place.path)) -}}
{{- end -}}
{{- end -}}
