internal import CKernel
internal import Glibc

/// A thread that runs a body and can be waited for.
final class DeviceThread: @unchecked Sendable {
    private let name: String
    private let niceness: Int32
    private let body: @Sendable () -> Void
    private var thread = pthread_t()

    /// - Parameter niceness: as of `nice(2)`, for a thread that no client waits for.
    init(name: String, niceness: Int32 = 0, body: @escaping @Sendable () -> Void) {
        self.name = name
        self.niceness = niceness
        self.body = body
        let context = Unmanaged.passRetained(self)
        let code = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                let thread = Unmanaged<DeviceThread>.fromOpaque(context).takeRetainedValue()
                kernel_name_thread(thread.name)
                if thread.niceness > 0 { kernel_stand_back(thread.niceness) }
                thread.body()
                return nil
            }, context.toOpaque())
        precondition(code == 0, "the process has no thread left")
    }

    func join() {
        pthread_join(thread, nil)
    }
}
