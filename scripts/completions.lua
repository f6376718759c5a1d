-- SPDX-License-Identifier: MIT
-- Writes completions for bash, zsh and fish, made from what the program says of itself.
-- Usage: luajit scripts/completions.lua OUTPUT GRUN
-- OUTPUT is a directory: grun.bash, _grun and grun.fish.

local output, grun = arg[1], arg[2]

local function read_command(words)
  local pipe = assert(io.popen(grun .. " " .. words .. " 2>&1"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- ---- What there is ----

-- "  -w, --workers N    text" -> { { name = "-w", arg = "N", text = }, { name = "--workers", … } }.
local function read_line(line)
  local rest, found = line:match("^%s+(%-.*)$"), {}
  while rest do
    local name, after = rest:match("^(%-%-?[%w][%w-]*)(.*)$")
    if not name then
      break
    end
    local option = { name = name }
    local attached = after:match("^%[=?([%w%.]+)%]")
    if attached then
      option.optional = attached
      after = after:gsub("^%b[]", "")
    elseif after:find("^ [A-Z][A-Z|]*%f[ ,%z]") then
      option.arg, after = after:match("^ ([A-Z|]+)(.*)$")
    elseif after:find("^ %l+%f[ ,%z]") and #name == 2 then
      option.arg, after = after:match("^ (%l+)(.*)$")
    end
    found[#found + 1] = option
    rest = after:match("^, (%-.*)$")
    if not rest then
      for _, one in ipairs(found) do
        one.text = after:match("^%s+(.*)$")
        one.arg = one.arg or found[#found].arg
        one.optional = one.optional or (#one.name > 2 and found[#found].optional or nil)
      end
    end
  end
  return found
end

local function options_of(text)
  local list, seen = {}, {}
  for line in text:gmatch("[^\n]+") do
    for _, option in ipairs(read_line(line)) do
      if not seen[option.name] and option.name ~= "--" then
        seen[option.name] = true
        list[#list + 1] = option
      end
    end
  end
  return list
end

local function commands()
  local file = assert(io.open("lualib/grun/main.lua"))
  local body = file:read("*a"):match("\nlocal commands = {\n(.-)\n}")
  file:close()
  local list = {}
  for name in body:gmatch("\n?%s+([%w_]+) = ") do
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end

-- Chapters, functions and objects, for grun doc.
local function names()
  local list = {}
  for line in read_command("doc"):gmatch("[^\n]+") do
    if not line:find("grun doc", 1, true) then
      for name in line:gmatch("%S+") do
        list[#list + 1] = name
      end
    end
  end
  return list
end

local FILES = { FILE = true, DIR = true }
local LEVELS = "none error warn info debug"

local function words(list)
  local all = {}
  for i, option in ipairs(list) do
    all[i] = option.name
  end
  return table.concat(all, " ")
end

local function with_arg(list, wanted)
  local all = {}
  for _, option in ipairs(list) do
    if option.arg and (wanted == nil and not FILES[option.arg] and option.arg ~= "LEVEL" or
       option.arg == wanted) then
      all[#all + 1] = option.name
    end
  end
  return #all > 0 and table.concat(all, "|") or "--none--"
end

local own, serve = options_of(read_command("--help")), options_of(read_command("serve --help"))
local all_commands, all_names = commands(), table.concat(names(), " ")

local function fill(text, values)
  return (text:gsub("@(%w+)@", values))
end

local values = {
  own = words(own), serve = words(serve), commands = table.concat(all_commands, " "),
  names = all_names, levels = LEVELS,
  ownplain = with_arg(own), ownfile = with_arg(own, "FILE"), owndir = with_arg(own, "DIR"),
  ownlevel = with_arg(own, "LEVEL"), serveplain = with_arg(serve),
  servefile = with_arg(serve, "FILE"), servedir = with_arg(serve, "DIR"),
}

-- ---- bash ----

local BASH = [==[
# SPDX-License-Identifier: MIT
# Completion of grun for bash.
_grun() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command= i word
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		@ownplain@ | @ownfile@ | @owndir@ | @ownlevel@) ((i++)) ;;
		-*) ;;
		*)
			command=$word
			break
			;;
		esac
	done
	case $command in
	'')
		case $prev in
		@ownlevel@) mapfile -t COMPREPLY < <(compgen -W '@levels@' -- "$cur") ;;
		@ownfile@) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
		@owndir@) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
		@ownplain@) ;;
		*)
			if [[ $cur == -* ]]; then
				mapfile -t COMPREPLY < <(compgen -W '@own@' -- "$cur")
			else
				mapfile -t COMPREPLY < <(
					compgen -W '@commands@' -- "$cur"
					compgen -f -X '!*.lua' -- "$cur"
					compgen -d -S / -- "$cur"
				)
				[[ ${COMPREPLY[*]} != */ ]] || compopt -o nospace
			fi
			;;
		esac
		;;
	serve)
		case $prev in
		@servefile@) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
		@servedir@) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
		@serveplain@) ;;
		*)
			if [[ $cur == -* ]]; then
				mapfile -t COMPREPLY < <(compgen -W '@serve@' -- "$cur")
			else
				mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			fi
			;;
		esac
		;;
	doc) mapfile -t COMPREPLY < <(compgen -W '-k --help @names@' -- "$cur") ;;
	*)
		if [[ " @commands@ " == *" $command "* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(pgrep -x grun)" -- "$cur")
		else
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		fi
		;;
	esac
}
complete -o filenames -F _grun grun
]==]

-- ---- zsh ----

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function zsh_options(list)
  local lines = {}
  for i, option in ipairs(list) do
    local text = (option.text or ""):gsub("[%[%]:]", "\\%0")
    local action = ""
    if option.arg then
      local kinds = {
        FILE = "_files", DIR = "_files -/", LEVEL = "(" .. LEVELS .. ")",
      }
      action = ":" .. option.arg:gsub("|.*", ""):lower() .. ":" .. (kinds[option.arg] or " ")
    end
    local name = option.name .. (option.arg and (#option.name > 2 and "=" or "+") or "")
    lines[i] = "\t\t" .. quoted("*" .. name .. (text ~= "" and "[" .. text .. "]" or "") .. action)
  end
  return table.concat(lines, " \\\n")
end

local ZSH = [==[
#compdef grun
# SPDX-License-Identifier: MIT
# Completion of grun for zsh.
_grun_operand() {
	_alternative 'commands:command:(@commands@)' 'scripts:script:_files -g "*.lua(-.)"'
}

_grun_rest() {
	case $words[1] in
	serve)
		_arguments -S \
@serveoptions@ \
		'*:file:_files'
		;;
	doc) _values -w name -k --help @names@ ;;
	(@alternatives@)) compadd -- ${(f)"$(pgrep -x grun)"} ;;
	*) _files ;;
	esac
}

_grun() {
	_arguments -S \
@ownoptions@ \
		'1:script or command:_grun_operand' \
		'*::argument:_grun_rest'
}

_grun "$@"
]==]

-- ---- fish ----

local function fish_options(list, condition)
  local lines = {}
  for i, option in ipairs(list) do
    local dashes, name = option.name:match("^(%-+)(.*)$")
    local kind = dashes == "-" and "s" or "l"
    local line = ("complete -c grun -n %s -%s %s"):format(quoted(condition), kind, name)
    if option.arg then
      local kinds = {
        FILE = " -r -F", DIR = " -x -a '(__fish_complete_directories)'",
        LEVEL = " -x -a '" .. LEVELS .. "'",
      }
      line = line .. (kinds[option.arg] or " -x")
    end
    if option.text and option.text ~= "" then
      line = line .. " -d " .. "'" .. option.text:gsub("[\\']", "\\%0") .. "'"
    end
    lines[i] = line
  end
  return table.concat(lines, "\n")
end

local FISH = [==[
# SPDX-License-Identifier: MIT
# Completion of grun for fish.
complete -c grun -n '__fish_is_first_token' -f -a '@commands@ (__fish_complete_suffix .lua)'
complete -c grun -n '__fish_seen_subcommand_from doc' -f -a '-k @names@'
complete -c grun -n '__fish_seen_subcommand_from @others@' -f -a '(pgrep -x grun)'
@ownoptions@
@serveoptions@
]==]

-- ---- Output ----

local others = {}
for _, name in ipairs(all_commands) do
  if name ~= "serve" and name ~= "doc" then
    others[#others + 1] = name
  end
end
values.alternatives = #others > 0 and table.concat(others, "|") or "--none--"
values.others = #others > 0 and table.concat(others, " ") or "--none--"

local function write(name, text, more)
  for key, value in pairs(more) do
    values[key] = value
  end
  local file = assert(io.open(output .. "/" .. name, "wb"))
  assert(file:write(fill(text, values)))
  assert(file:close())
end

assert(#own > 10 and #serve > 20 and #all_names > 500, "the program says too little of itself")
write("grun.bash", BASH, {})
write("_grun", ZSH, { ownoptions = zsh_options(own), serveoptions = zsh_options(serve) })
write("grun.fish", FISH, {
  ownoptions = fish_options(own, "not __fish_seen_subcommand_from " .. values.commands),
  serveoptions = fish_options(serve, "__fish_seen_subcommand_from serve"),
})
