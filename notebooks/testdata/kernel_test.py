"""jupyter_kernel_test, Jupyter's own suite for kernels, against the installed kernel.

One test a process: python kernel_test.py GoKernel.test_execute_stdout. In one process a late message of one test fails the
next."""

import unittest

import jupyter_kernel_test

jupyter_kernel_test.TIMEOUT = 100  # seconds: machines that test are loaded


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
    code_display_data = [{"code": 'import "github.com/janpfeifer/gonb/gonbui"\n%%\ngonbui.DisplayHTML("<p>1</p>")', "mime": "text/html"}]
    code_history_pattern = "fmt*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "%%\nfmt.Println(1)"
    code_clear_output = "%clear"


if __name__ == "__main__":
    unittest.main()
