import Glibc

/// A system call on a file that failed: what was tried, on which path, and the `errno`.
package struct FileError: Error, Equatable, CustomStringConvertible {
    package let operation: String
    package let path: String
    package let code: Int32

    package init(operation: String, path: String, code: Int32) {
        self.operation = operation
        self.path = path
        self.code = code
    }

    package var description: String { "\(operation) \(path): \(String(cString: strerror(code)))" }

    /// Runs a system call again while a signal interrupts it; -1 becomes an error.
    @discardableResult
    static func check<Value: BinaryInteger>(
        _ operation: String, _ path: String, _ call: () -> Value
    ) throws(FileError) -> Value {
        while true {
            let value = call()
            if value != -1 { return value }
            guard errno == EINTR else { throw FileError(operation: operation, path: path, code: errno) }
        }
    }
}
