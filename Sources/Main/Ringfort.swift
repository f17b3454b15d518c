import ArgumentParser
import Daemon

/// The one binary.
@main
struct Ringfort: ParsableCommand {
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: "ringfort",
        abstract: "A distributed object store that speaks the OpenStack Swift API.",
        discussion: """
            Start a store with everything it needs in one process, and use it with any Swift client:

              ringfort up --data ./data
              . ./data/credentials.env
              swift upload photos ~/Pictures

            Every command explains itself with --help and answers scripts with --json. For completion in your shell:
            ringfort --generate-completion-script bash > /etc/bash_completion.d/ringfort
            """,
        version: version,
        subcommands: [
            UpCommand.self, TokenCommand.self, JoinCommand.self, NodeCommand.self, DeviceCommand.self,
            StatusCommand.self, EncryptionCommand.self, RebalanceCommand.self, WorkersCommand.self, VerifyCommand.self,
            UserCommand.self,
            ObjectCommand.self,
            RingCommand.self,
            StorageCommand.self, ProxyCommand.self,
        ])

    static func main() {
        // Before any thread is started: threads inherit the mask.
        SignalWaiter.blockSignals()
        main(nil)
    }
}
