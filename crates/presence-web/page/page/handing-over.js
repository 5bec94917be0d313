/* The socket that the document has opened (`early.js`), for the client. */

/** What `connect` takes besides who we are. Without an early socket the client opens its own, as always. */
export function handedOver(early) {
  if (!early) return {};
  early.resume.putAway(); // from where the client takes it
  return {
    deviceId: early.deviceId,
    /** Called with `new`: the first time it gives the socket that is open already. */
    WebSocket: function Early(url, protocols) {
      const { socket, said } = early;
      early.socket = null;
      if (socket?.url !== url) {
        socket?.close();
        return new WebSocket(url, protocols);
      }
      // Once the client listens.
      queueMicrotask(() => {
        for (const event of said.splice(0)) socket[`on${event.type}`]?.({ ...event, data: event.data && aged(event) });
      });
      return socket;
    },
  };
}

/** A hello says what time it is at the gateway, and has waited for us since. */
function aged({ data, at }) {
  const frame = JSON.parse(data);
  return frame.now === undefined ? data : JSON.stringify({ ...frame, now: frame.now + Date.now() - at });
}
