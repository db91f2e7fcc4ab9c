/** Where the next page is, among the links of an answer. */
export const nextLink = (headers: Headers): string | undefined =>
  /<([^>]+)>; rel="next"/.exec(headers.get('link') ?? '')?.[1]
