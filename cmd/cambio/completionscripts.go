package main

import (
	"fmt"
	"io"
	"strings"
)

func printText(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// paths are alternatives of a case in a shell: the spots below the first.
func paths(spots []spot) string {
	var all []string
	for _, s := range spots[1:] {
		all = append(all, "'"+s.path+"'")
	}
	return strings.Join(all, "|")
}

// valueCases are the cases of flags that take a value: files, of known values, and
// of values that only the user knows.
func valueCases(spots []spot, open, file, values string) string {
	var out strings.Builder
	var files, unknown []string
	for _, s := range spots {
		for _, f := range s.flags {
			at := "'" + s.path + " " + f.word + "'"
			switch {
			case f.file:
				files = append(files, at)
			case f.takes && f.values == nil:
				unknown = append(unknown, at)
			case f.takes:
				fmt.Fprintf(&out, "    %s%s) "+values+" ;;\n", open, at, strings.Join(f.values, " "))
			}
		}
	}
	fmt.Fprintf(&out, "    %s%s) %s ;;\n", open, strings.Join(files, "|"), file)
	fmt.Fprintf(&out, "    %s%s) return ;;\n", open, strings.Join(unknown, "|"))
	return out.String()
}

// bashScript reads the line itself: bash splits it at = and : too, and replaces only
// what is behind the last of these. It works with bash 3.2 and later.
const bashScript = `# Completion of cambio for bash.
_cambio() {
  local line=${COMP_LINE:0:COMP_POINT} word= value prefix= at=cambio flag= list= i
  local -a words
  read -ra words <<< "$line"
  if [[ $line != *[[:space:]] ]]; then
    word=${words[${#words[@]}-1]}
    unset "words[${#words[@]}-1]"
  fi
  for ((i = 1; i < ${#words[@]}; i++)); do
    case "$at ${words[i]}" in
    %s) at="$at ${words[i]}" flag= ;;
    *) flag=${words[i]} ;;
    esac
  done
  value=$word
  if [[ $word == --*=* ]]; then
    flag=${word%%%%=*} value=${word#*=}
    [[ $COMP_WORDBREAKS == *=* ]] || prefix="$flag="
  fi
  case "$at $flag" in
%s    *)
      case $at in
%s      esac
      ;;
  esac
  COMPREPLY=($(compgen -P "$prefix" -W "$list" -- "$value"))
  if [[ $value == *:* && $COMP_WORDBREAKS == *:* ]]; then
    prefix=${value%%"${value##*:}"}
    for ((i = 0; i < ${#COMPREPLY[@]}; i++)); do
      COMPREPLY[i]=${COMPREPLY[i]#"$prefix"}
    done
  fi
}
complete -F _cambio cambio
`

func bashCompletion(spots []spot) string {
	const files = `compopt -o filenames 2> /dev/null; local IFS=$'\n'; COMPREPLY=($(compgen -P "$prefix" -f -- "$value")); return`
	var lists strings.Builder
	for _, s := range spots {
		var words []string
		for _, o := range s.offers() {
			words = append(words, o.word)
		}
		fmt.Fprintf(&lists, "      '%s') list='%s' ;;\n", s.path, strings.Join(words, " "))
	}
	return fmt.Sprintf(bashScript, paths(spots), valueCases(spots, "", files, "list='%s'"), lists.String())
}

const zshScript = `#compdef cambio
# Completion of cambio for zsh.
_cambio() {
  local at=cambio flag= i
  local -a list
  for ((i = 2; i < CURRENT; i++)); do
    case "$at ${words[i]}" in
    (%s) at="$at ${words[i]}" flag= ;;
    (*) flag=${words[i]} ;;
    esac
  done
  if [[ $PREFIX == --*=* ]]; then
    flag=${PREFIX%%%%=*}
    compset -P '*='
  fi
  case "$at $flag" in
%s  esac
  case $at in
%s  esac
  _describe cambio list
}
if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
  _cambio "$@"
else
  compdef _cambio cambio
fi
`

func zshCompletion(spots []spot) string {
	var lists strings.Builder
	for _, s := range spots {
		fmt.Fprintf(&lists, "    ('%s') list=(", s.path)
		for _, o := range s.offers() {
			fmt.Fprintf(&lists, "\n      '%s:%s'", strings.ReplaceAll(o.word, ":", `\:`), o.help)
		}
		lists.WriteString(") ;;\n")
	}
	return fmt.Sprintf(zshScript, paths(spots), valueCases(spots, "(", "_files; return", "compadd -- %s; return"), lists.String())
}

const fishScript = `# Completion of cambio for fish.
function __cambio_at
    set -l at cambio
    for word in (commandline -opc)[2..-1]
        switch "$at $word"
            case %s
                set at "$at $word"
        end
    end
    test "$at" = "$argv[1]"
end
complete -c cambio -f
`

func fishCompletion(spots []spot) string {
	var out strings.Builder
	fmt.Fprintf(&out, fishScript, strings.ReplaceAll(paths(spots), "|", " "))
	for _, s := range spots {
		begin := fmt.Sprintf(`complete -c cambio -n "__cambio_at '%s'"`, s.path)
		for _, o := range s.words {
			fmt.Fprintf(&out, "%s -a %s -d '%s'\n", begin, o.word, o.help)
		}
		for _, o := range s.flags {
			value := ""
			switch {
			case o.file:
				value = " -r -F"
			case o.takes:
				value = " -x"
			}
			if o.values != nil {
				value += " -a '" + strings.Join(o.values, " ") + "'"
			}
			fmt.Fprintf(&out, "%s -l %s%s -d '%s'\n", begin, strings.TrimPrefix(o.word, "--"), value, o.help)
		}
	}
	return out.String()
}
