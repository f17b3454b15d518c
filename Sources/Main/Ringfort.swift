import ArgumentParser
import Daemon
import StorageWire

/// The one binary.
@main
struct Ringfort: ParsableCommand {
    /// Raised when operators have something to know before they upgrade: a new version of the wire, or of a format on the disk.
    static let version = "0.2.0"

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
        version: ProgramReport.own.text,
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
