
# actrec_identity: a placeholder author, only where git has none of its own
if [ -z "$(git config user.email 2>/dev/null)" ] && [ -z "${GIT_AUTHOR_EMAIL:-}" ]; then
    export GIT_AUTHOR_NAME="actrec" GIT_AUTHOR_EMAIL="actrec@localhost"
    export GIT_COMMITTER_NAME="actrec" GIT_COMMITTER_EMAIL="actrec@localhost"
fi
