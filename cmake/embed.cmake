# Turns files into C++: cmake -DOUT=<x.cpp> -DHEADER=<header to include> -DNAMESPACE=<ns> -DFILES=<name=file,...> -P embed.cmake
# defines `const std::string_view name` of each file's bytes.
set(text "#include \"${HEADER}\"\n\nnamespace ${NAMESPACE} {\n")
string(REPLACE "," ";" entries "${FILES}")
foreach(entry ${entries})
  string(REGEX MATCH "^([a-z_]+)=(.*)$" ignored "${entry}")
  set(name ${CMAKE_MATCH_1})
  file(READ "${CMAKE_MATCH_2}" bytes HEX)
  string(LENGTH "${bytes}" digits)
  math(EXPR size "${digits} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(APPEND text "static const unsigned char ${name}_bytes[] = {${bytes}};\n"
                     "const std::string_view ${name}(reinterpret_cast<const char*>(${name}_bytes), ${size});\n")
endforeach()
file(WRITE "${OUT}" "${text}}  // namespace ${NAMESPACE}\n")
