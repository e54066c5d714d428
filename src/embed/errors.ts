/** The embedder asked for something that a controller cannot be or do: the message says what, and what would be right. */
export class EmbedError extends Error {
  override readonly name = 'EmbedError';
}
