internal import CKernel
internal import Glibc

/// A thread that runs a body and can be waited for.
final class DeviceThread: @unchecked Sendable {
    private let name: String
    private let body: @Sendable () -> Void
    private var thread = pthread_t()

    init(name: String, body: @escaping @Sendable () -> Void) {
        self.name = name
        self.body = body
        let context = Unmanaged.passRetained(self)
        let code = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                let thread = Unmanaged<DeviceThread>.fromOpaque(context).takeRetainedValue()
                kernel_name_thread(thread.name)
                thread.body()
                return nil
            }, context.toOpaque())
        precondition(code == 0, "the process has no thread left")
    }

    func join() {
        pthread_join(thread, nil)
    }
}
