"""What a login must do."""

import unittest

from src.login import find


class Login(unittest.TestCase):
    def test_login_known(self):
        self.assertEqual(find("ana@acme.example"), "ana@acme.example")

    def test_login_stranger(self):
        self.assertIsNone(find("eve@acme.example"))

    def test_login_capitals(self):
        self.assertEqual(find("Ana@Acme.Example"), "ana@acme.example")


if __name__ == "__main__":
    unittest.main()
