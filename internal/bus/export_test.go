package bus

// Waiting returns how many publications wait for another.
func Waiting(c *Client) int {
	c.outbox.mu.Lock()
	defer c.outbox.mu.Unlock()
	return len(c.outbox.waiting)
}
