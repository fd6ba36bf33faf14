"""Compare what a port serves with a certificate: served.py FOLDER NAME PORT ADDRESS...

The first address that accepts counts. The certificate must verify against ca.crt of the folder.
"""

import pathlib
import socket
import ssl
import sys

folder, name, port, addresses = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:]
wanted = ssl.PEM_cert_to_DER_cert(
    (folder / f"{name}.crt").read_text().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
)
context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
context.check_hostname = False
# Where a client must show one, its own does.
context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
refused = []
for address in addresses:
    try:
        connection = socket.create_connection((address, port), timeout=5)
    except OSError as error:
        refused.append(f"{address}: {error.strerror or error}")
        continue
    try:
        with context.wrap_socket(connection) as tls:
            served = tls.getpeercert(binary_form=True)
    except (OSError, ssl.SSLError) as error:
        sys.exit(f"port {port} of {address} does not speak TLS with a certificate that ca.crt verifies: {error}")
    sys.exit(0 if served == wanted else f"port {port} of {address} serves another certificate than {name}.crt")
sys.exit(f"nothing answers at port {port} ({'; '.join(refused)})")
