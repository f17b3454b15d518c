import Glibc

/// Standard output.
enum Terminal {
    /// Makes what was printed visible to who waits for it: into a pipe it would stay in a buffer.
    static func flush() { fflush(nil) }
}
