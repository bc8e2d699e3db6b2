"""A TCP proxy before PostgreSQL that cuts all connections, or only the one that listens for notifications."""

import socket
import threading
from urllib.parse import urlsplit


class Proxy:
    def __init__(self, database_url):
        url = urlsplit(database_url)
        self._server = (url.hostname, url.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.database_url = url._replace(netloc=f"{url.username}@127.0.0.1:{port}").geturl()
        self._lock = threading.Lock()
        self._open = []  # pairs of sockets
        self._listening = []  # those of them that sent LISTEN
        self._cuts_all = self._cuts_listeners = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """No connection works any longer, and none can be opened."""
        with self._lock:
            self._cuts_all = True
            for pair in self._open:
                close(pair)

    def cut_listeners(self):
        """A connection that listens for notifications is cut, now and whenever there is one."""
        with self._lock:
            self._cuts_listeners = True
            for pair in self._listening:
                close(pair)

    def stop(self):
        self.cut()
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                pair = (client, socket.create_connection(self._server))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open.append(pair)
                if self._cuts_all:
                    close(pair)
            for source, target in [pair, pair[::-1]]:
                threading.Thread(target=self._forward, args=(pair, source, target), daemon=True).start()

    def _forward(self, pair, source, target):
        try:
            while data := source.recv(65536):
                if source is pair[0] and b"LISTEN " in data:
                    with self._lock:
                        self._listening.append(pair)
                        if self._cuts_listeners:
                            break
                target.sendall(data)
        except OSError:
            pass
        close(pair)


def close(pair):
    for end in pair:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        end.close()
