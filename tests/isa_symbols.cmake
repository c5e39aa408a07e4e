# Fails when an object of one instruction set defines a weak symbol outside its own namespace templar::<isa>.
# cmake -DNM=… -DISA=avx512 "-DOBJECTS=a.o|b.o" -P isa_symbols.cmake
string(REPLACE "|" ";" objects "${OBJECTS}")
execute_process(COMMAND ${NM} --demangle --defined-only ${objects} OUTPUT_VARIABLE symbols RESULT_VARIABLE status)
if(NOT status EQUAL 0)
    message(FATAL_ERROR "${NM} failed on the objects of ${ISA}: build them first")
endif()
string(REGEX MATCHALL "[0-9a-f]+ [WVu] [^\n]*" weak "${symbols}")
set(leaks "")
foreach(symbol IN LISTS weak)
    # DW.ref.* is a pointer that exception handling needs; it holds no code.
    if(NOT symbol MATCHES "templar::${ISA}::" AND NOT symbol MATCHES " V DW\\.ref\\.")
        string(APPEND leaks "  ${symbol}\n")
    endif()
endforeach()
if(leaks)
    message(FATAL_ERROR "inline functions compiled for ${ISA} that the whole program would share:\n${leaks}"
        "write them in the namespace templar::TEMPLAR_ISA, or make sure that they are inlined")
endif()
