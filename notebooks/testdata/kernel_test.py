"""jupyter_kernel_test, Jupyter's own suite for kernels, against the installed kernel.

One test a process: python kernel_test.py GoKernel.test_execute_stdout. In one process a late message of one test fails the
next."""

import unittest

import jupyter_kernel_test
from jupyter_kernel_test.msgspec_v5 import validate_message

jupyter_kernel_test.TIMEOUT = TIMEOUT = 300  # seconds: machines that test are loaded


class GoKernel(jupyter_kernel_test.KernelTests):
    kernel_name = "hrlab"
    language_name = "go"
    file_extension = ".go"
    code_hello_world = '%%\nfmt.Print("hello, world")'
    code_stderr = '%%\nfmt.Fprint(os.Stderr, "oops")'
    completion_samples = [{"text": "%%\nstrings.ToUpperS", "matches": {"ToUpperSpecial"}}]
    complete_code_samples = ["%%\nfmt.Println(1)"]
    incomplete_code_samples = ["func f() {"]
    invalid_code_samples = ["func ("]
    code_page_something = "fmt.Println?"
    code_generate_error = '%%\npanic("broken")'
    code_execute_result = [{"code": '%%\ngonbui.DisplayHTML("<p>1</p>")', "result": "1", "mime": "text/html"}]
    code_display_data = [{"code": 'import "github.com/janpfeifer/gonb/gonbui"\n%%\ngonbui.DisplayHTML("<p>1</p>")\ngonbui.Sync()', "mime": "text/html"}]
    code_history_pattern = "fmt*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "%%\nfmt.Println(1)"
    code_clear_output = "%clear"

    def execute_helper(self, code, timeout=TIMEOUT, **options):
        """As the suite's, which waits 0.1 s for a message, and takes no output that comes after the kernel says it is idle."""
        msg_id = self.kc.execute(code=code, **options)
        reply = self.get_non_kernel_info_reply(timeout=timeout)
        validate_message(reply, "execute_reply", msg_id)
        outputs, idle = [], False
        while not idle or not outputs:
            msg = self.kc.get_iopub_msg(timeout=timeout)
            validate_message(msg, msg["msg_type"], msg_id)
            if msg["msg_type"] == "status":
                idle = msg["content"]["execution_state"] == "idle"
            elif msg["msg_type"] != "execute_input":
                outputs.append(msg)
        return reply, outputs


if __name__ == "__main__":
    unittest.main()
