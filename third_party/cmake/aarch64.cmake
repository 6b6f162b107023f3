# Toolchain of the preset `aarch64`: Debian's g++-aarch64-linux-gnu, and its qemu-user to run what is built on this machine.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64;-L;/usr/aarch64-linux-gnu)

# Header-only packages of the host serve every architecture, but Debian files xsimd's below the host's triplet. Debian's cross
# compiler searches /usr/include itself, after its own headers: no -isystem may put it first.
file(GLOB xsimd_DIR /usr/lib/*/cmake/xsimd)
set(xsimd_DIR ${xsimd_DIR} CACHE PATH "xsimd's CMake package")
