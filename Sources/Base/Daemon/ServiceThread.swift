import CKernel
import Glibc

/// A named POSIX thread that runs one function to its end. It is never cancelled; whoever starts it tells it to return.
package struct ServiceThread: @unchecked Sendable {
    // A pthread_t is a number: handing it to other threads is what it is made for.
    let handle: pthread_t

    private final class Start {
        let name: String
        let niceness: Int32
        let body: @Sendable () -> Void
        init(name: String, niceness: Int32, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.niceness = niceness
            self.body = body
        }
    }

    /// Starts the thread. The name shows in `top -H` and `perf`, 15 bytes of it at most.
    ///
    /// Throws `EAGAIN` when the process may not have another thread.
    ///
    /// - Parameter niceness: how far it stands back when others want the processor, 0 to 19 (`nice(2)`); the threads that clients wait for have 0.
    package init(
        named name: String, niceness: Int32 = 0, _ body: @escaping @Sendable () -> Void
    ) throws(FileError) {
        let start = Unmanaged.passRetained(Start(name: name, niceness: niceness, body: body))
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                let start = Unmanaged<Start>.fromOpaque(context).takeRetainedValue()
                kernel_name_thread(String(start.name.prefix(15)))
                if start.niceness > 0 { kernel_stand_back(start.niceness) }
                start.body()
                return nil
            }, start.toOpaque())
        guard code == 0 else {
            start.release()
            throw FileError(operation: "start thread", path: name, code: code)
        }
        handle = thread
    }

    /// Waits until the function has returned; once per thread.
    package func join() { pthread_join(handle, nil) }
}
