package crashtest

import (
	"os/exec"
	"syscall"
)

// endWithParent lets a process end when the thread that starts it does.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
